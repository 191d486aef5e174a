"""The model that a package carries, as a Hugging Face directory."""

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.vllm]

CONVERT = """
import sys
from pathlib import Path
from toolkit.models.embedded import embedded_model
print(embedded_model(Path(sys.argv[1])))
"""
ASK = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
text = tokenizer.apply_chat_template(
    [{"role": "user", "content": "What is the capital of France?"}],
    tokenize=False, add_generation_prompt=True)
ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
out = model.generate(ids, max_new_tokens=16, do_sample=False)
print(tokenizer.decode(out[0][ids.shape[1]:], skip_special_tokens=True))
"""


def python(code, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def test_it_is_converted_once_and_knows_the_capital_of_france(tmp_path):
    """A wrong permutation of one weight, or a wrong token, and it says nothing sensible."""
    (folder,) = python(CONVERT, tmp_path)
    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert python(CONVERT, tmp_path) == [folder]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == made
    assert "Paris" in " ".join(python(ASK, folder))
