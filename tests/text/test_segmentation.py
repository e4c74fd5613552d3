from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mlcl.core import errors
from mlcl.core.errors import UserError
from mlcl.text import segmentation
from mlcl.text.segmentation import segment


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("en", "It's Mr. Smith's book, 3.5 % off.", "It 's Mr. Smith 's book , 3.5 % off ."),
        ("fra", "L'homme n'est pas là.", "L' homme n' est pas là ."),
        ("de-CH", "Das Haus (alt) & neu", "Das Haus ( alt ) & neu"),
        ("hin", "यह अच्छी किताब है।", "यह अच्छी किताब है ।"),
        ("ar", "هذا كتابٌ جيد، أليس كذلك؟", "هذا كتابٌ جيد ، أليس كذلك ؟"),
        ("ko", "저는 학생입니다.", "저는 학생입니다 ."),
        ("am", "ይህ ጥሩ መጽሐፍ ነው።", "ይህ ጥሩ መጽሐፍ ነው ።"),
        # Moses alone cuts these at marks and joiners
        ("yo", "Ó jẹ́ ìwé", "Ó jẹ́ ìwé"),
        ("fa", "می‌خواهم کتاب بخوانم.", "می‌خواهم کتاب بخوانم ."),
        ("my", "မြန်မာနိုင်ငံ၌ ရေးသားခဲ့သည်။", "မြန်မာနိုင်ငံ ၌ ရေးသားခဲ့သည် ။"),
        ("zh-Hans", "我来到北京清华大学。", "我 来到 北京 清华大学 。"),
        ("zho", "他 在 東京 工作", "他 在 東京 工作"),
        ("ja", "すもももももももものうち", "すもも も もも も もも の うち"),
        ("jpn", "東京に住んでいます。", "東京 に 住ん で い ます 。"),
        ("tha", "ฉันรักภาษาไทย มาก", "ฉัน รัก ภาษาไทย มาก"),
    ],
)
def test_words(language, text, words):
    assert segment(text, language) == words.split(" ")


@pytest.mark.parametrize("language", ["en", "my", "zh", "ja", "th"])
@pytest.mark.parametrize("text", ["", " \n\t ", "a\u2028b", "x" * 300, "...", "| & < > [ ]", "\u0301", "😀👍🏽 ok"])
def test_no_character_is_lost_whatever_the_text(language, text):
    words = segment(text, language)
    assert all(word.strip() for word in words)
    assert "".join("".join(words).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("language", "package"), [("en", "sacremoses"), ("zh", "jieba"), ("ja", "fugashi"), ("th", "pythainlp")]
)
def test_a_missing_library_names_the_extra(language, package, monkeypatch):
    def require(module, extra):
        raise UserError(f"this needs the package {module!r}", remedy=f"pip install 'mlcl[{extra}]'")

    segmentation._segmenter.cache_clear()
    monkeypatch.setattr(segmentation, "require", require)
    with pytest.raises(UserError, match=rf"{package}.*mlcl\[words\]"):
        segment("a", language)
    assert errors.require is not require


def test_an_unknown_language():
    with pytest.raises(UserError, match="unknown language tag 'klingonish'"):
        segment("a", "klingonish")


def test_nothing_is_fetched_and_nothing_written_to_the_home_folder(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from mlcl.text.segmentation import segment\n"
        "print([segment(t, l) for t, l in [('ab c', 'en'), ('北京', 'zh'), ('東京', 'ja'), ('ภาษาไทย', 'th')]])\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "['ab', 'c'], ['北京'], ['東京'], ['ภาษาไทย']" in done.stdout
    assert done.stderr == ""
