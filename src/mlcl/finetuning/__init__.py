"""From an encoder to a task: heads, ways of tuning, few-shot learning. Examples with labels in, `MLCTaskModel`s out."""
