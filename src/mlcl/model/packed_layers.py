"""Encoder layers of the BERT family over a packed stream: one autograd function a layer.

In: token states (T, D) and the modules of a Hugging Face layer. Out: token states (T, D). The numbers are those of the
module itself under the same precision; what is saved is the traffic between its parts. Autocast casts the states for
each of the three projections, keeps them in float32 in between, and autograd adds up their gradients pass by pass. Here
queries, keys and values are one product, the states stay in the type of the products, and the sums of the backward
enter the products that follow.

    a = attention(x Wqkv^T + b) Wo^T + b      y = norm(x + a)      z = norm(y + gelu(y W1^T + b) W2^T + b)
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

from mlcl.core.hardware import cpu_has_bf16_products
from mlcl.model.blocks import Blocks, attend, attend_backward


def supports(layer: nn.Module) -> bool:
    """Whether a module is a BERT-like layer in its plain form: no adapter or wrapper inside, and no dropout at work."""
    try:
        own, output = layer.attention.self, layer.attention.output  # type: ignore[union-attr]
        linears = (own.query, own.key, own.value, output.dense, layer.intermediate.dense, layer.output.dense)  # type: ignore[union-attr]
        norms = (output.LayerNorm, layer.output.LayerNorm)  # type: ignore[union-attr]
        activation = layer.intermediate.intermediate_act_fn  # type: ignore[union-attr]
    except AttributeError:
        return False
    dropout = any(module.p > 0 for module in layer.modules() if isinstance(module, nn.Dropout)) and layer.training
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in layer.modules())
    return (
        all(type(linear) is nn.Linear for linear in linears)
        and all(type(norm) is nn.LayerNorm for norm in norms)
        and type(activation) is GELUActivation
        and not getattr(layer, "is_decoder", False)
        and not getattr(layer, "gradient_checkpointing", False)
        and not dropout
        and not hooked
    )


def encoder_layer(layer: Any, states: Tensor, blocks: Blocks) -> Tensor:
    """One layer that `supports`: (T, D) -> (T, D), in the type of the states."""
    own, output = layer.attention.self, layer.attention.output
    modules = [own.query, own.key, own.value, output.dense, output.LayerNorm]
    modules += [layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm]
    parameters = [parameter for module in modules for parameter in (module.weight, module.bias)]
    eps = (output.LayerNorm.eps, layer.output.LayerNorm.eps)
    learns = torch.is_grad_enabled() and (states.requires_grad or any(p.requires_grad for p in parameters))
    with torch.autocast(states.device.type, enabled=False):  # the types are ours to choose
        return _Layer.apply(states, blocks, own.scaling, eps, learns, *parameters)


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        blocks: Blocks,
        scale: float,
        eps: tuple[float, float],
        learns: bool,
        *parameters: Tensor,
    ) -> Tensor:
        (wq, bq, wk, bk, wv, bv, wo, bo, norm1, shift1, w1, b1, w2, b2, norm2, shift2) = parameters
        kind = states.dtype
        w_in, b_in = torch.cat([wq, wk, wv]).to(kind), torch.cat([bq, bk, bv]).to(kind)
        wo, w1, w2 = wo.to(kind), w1.to(kind), w2.to(kind)

        stream = _linear(states, w_in, b_in).view(len(states), 3, blocks.heads, -1)
        blocked = blocks.gather(stream)  # (3, rows, K)
        mixed, weights = attend(blocked, blocks, scale)
        context = blocks.scatter(mixed[None]).view(len(states), -1)  # (T, D)
        sum1 = _linear(context, wo, bo.to(kind), plus=states)
        middle, mean1, rstd1 = torch.native_layer_norm(sum1, norm1.shape, norm1, shift1, eps[0])
        if learns:
            before = _linear(middle, w1, b1.to(kind))  # (T, F)
            active = F.gelu(before)
        else:
            active = _linear(middle, w1, b1.to(kind), activated=True)
        sum2 = _linear(active, w2, b2.to(kind), plus=middle)
        result, mean2, rstd2 = torch.native_layer_norm(sum2, norm2.shape, norm2, shift2, eps[1])
        if not learns:
            return result
        ctx.save_for_backward(
            states, blocked, context, sum1, mean1, rstd1, middle, before, active, sum2, mean2, rstd2,
            w_in, wo, w1, w2, norm1, shift1, norm2, shift2, *weights,
        )  # fmt: skip
        ctx.blocks, ctx.scale, ctx.kinds = blocks, scale, [parameter.dtype for parameter in parameters]
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (
            states, blocked, context, sum1, mean1, rstd1, middle, before, active, sum2, mean2, rstd2,
            w_in, wo, w1, w2, norm1, shift1, norm2, shift2, *weights,
        ) = ctx.saved_tensors  # fmt: skip
        blocks = ctx.blocks
        d_sum2, d_norm2, d_shift2 = _norm_backward(gradients[0].to(states.dtype), sum2, mean2, rstd2, norm2, shift2)
        d_w2, d_b2 = _weight_gradients(d_sum2, active)
        d_before = torch.ops.aten.gelu_backward(d_sum2 @ w2, before)
        d_w1, d_b1 = _weight_gradients(d_before, middle)
        d_middle = torch.addmm(d_sum2, d_before, w1)  # the sum rides on the product
        d_sum1, d_norm1, d_shift1 = _norm_backward(d_middle, sum1, mean1, rstd1, norm1, shift1)
        d_wo, d_bo = _weight_gradients(d_sum1, context)
        d_mixed = blocks.gather((d_sum1 @ wo).view(len(states), 1, blocks.heads, -1))[0]
        d_blocked = attend_backward(d_mixed, blocked, weights, blocks, ctx.scale)
        d_stream = blocks.scatter(d_blocked).view(len(states), -1)  # (T, 3 D)
        d_w_in, d_b_in = _weight_gradients(d_stream, states)
        d_states = torch.addmm(d_sum1, d_stream, w_in) if ctx.needs_input_grad[0] else None
        d_wq, d_wk, d_wv = d_w_in.chunk(3)
        d_bq, d_bk, d_bv = d_b_in.chunk(3)
        of_parameters = (
            d_wq, d_bq, d_wk, d_bk, d_wv, d_bv, d_wo, d_bo, d_norm1, d_shift1,
            d_w1, d_b1, d_w2, d_b2, d_norm2, d_shift2,
        )  # fmt: skip
        cast = (gradient.to(kind) for gradient, kind in zip(of_parameters, ctx.kinds, strict=True))
        return (d_states, None, None, None, None, *cast)


def _linear(
    values: Tensor, weight: Tensor, bias: Tensor, *, plus: Tensor | None = None, activated: bool = False
) -> Tensor:
    """Linear layer (T, O), `plus` a residual or with a GELU; in bfloat16 oneDNN does both before it rounds."""
    if values.dtype == torch.bfloat16 and cpu_has_bf16_products():
        operation = torch.ops.mkldnn._linear_pointwise
        if plus is not None:
            return operation.binary(values, plus, weight, bias, "add")
        return operation(values, weight, bias, "gelu" if activated else "none", [], "none" if activated else "")
    result = F.linear(values, weight, bias)
    if plus is not None:
        result += plus
    return F.gelu(result) if activated else result


def _norm_backward(
    gradient: Tensor, values: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a layer norm's input (T, D), weight (D,) and bias (D,).

    In float32: torch's kernel for bfloat16 adds the gradient of the weight up in bfloat16, where sums over thousands of
    tokens stop growing.
    """
    wide = torch.promote_types(gradient.dtype, torch.float32)
    d_values, d_weight, d_bias = torch.ops.aten.native_layer_norm_backward(
        gradient.to(wide), values.to(wide), weight.shape, mean, rstd, weight, bias, [True, True, True]
    )
    return d_values.to(gradient.dtype), d_weight, d_bias


def _weight_gradients(gradient: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of a linear layer's weight (O, I) and bias (O,) from those of its output (T, O).

    The bias' sum is a product with ones: in bfloat16 `sum` would first copy everything to float32.
    """
    ones = gradient.new_ones(1, len(gradient))
    return gradient.T @ values, (ones @ gradient)[0]
