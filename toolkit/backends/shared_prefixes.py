"""vLLM with `--share-prefixes`: samples of a problem share the forward passes of a common prefix.

Which samples share a row, and what they draw: `toolkit.backends.prefix_tree`. The drawing happens
in vLLM's engine (`toolkit.backends.shared_draws`), and both sides talk through objects in memory.
So the engine's core runs in this process, and on one GPU.
"""

import os
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from toolkit.backends.prefix_tree import Row, stream_of
from toolkit.backends.vllm import VllmBackend
from toolkit.config import Config
from toolkit.errors import EngineFailure
from toolkit.records import FinishReason, Request, Sample

SAMPLES_PER_SEQUENCE = 8
"""Samples in flight for each sequence of the batch. With more, groups are larger."""
REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class SharingBackend(VllmBackend):
    """vLLM in this process, whose samples of a problem share what they have in common."""

    largest_group = sys.maxsize
    """At most so many samples begin in a row together. 1: nothing is shared, for comparisons."""

    def __init__(self, config: Config, folder: Path) -> None:
        """As of `VllmBackend`."""
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        # On a GPU vLLM's default is its second model runner, which refuses processors of logits
        # that are written for the first one (vLLM pull request 56497).
        os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
        super().__init__(config, folder)
        # After vLLM, which reads its environment at import.
        from vllm.v1.engine.detokenizer import IncrementalDetokenizer

        from toolkit.backends.shared_draws import ENDS, ROWS

        self._detokenizer: Any = IncrementalDetokenizer
        self._shared, self._ends = ROWS, ENDS
        self._count = 0
        self._waiting: list[Row] = []
        self._rows: dict[str, str] = {}
        self._stops: dict[str, list[str]] = {}
        self._ended: list[Sample] = []
        self.max_in_flight = SAMPLES_PER_SEQUENCE * config.engine.max_num_seqs

    def _engine_arguments(self, on_cpu: bool) -> dict[str, Any]:
        from toolkit.backends.shared_draws import SharedDraws

        found = super()._engine_arguments(on_cpu)
        longest = self._config.engine.max_model_len
        return found | {
            "logits_processors": [SharedDraws],
            # A chunk of a prompt has logits too, which no sample is to draw from.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(longest, found.get("max_num_batched_tokens") or 8192),
            # The branches of a step are to be in the next one.
            "async_scheduling": False,
        }

    def step(self) -> list[Sample]:
        """See `Backend.step`."""
        self._start_groups()
        if self._waiting:
            self._enqueue_rows()
        for output in self._finished() if self._rows else []:
            self._finish(output)
        for name in self._rows.values():
            self._split(self._shared[name])
        ended, self._ended = self._ended, []
        return ended

    def _start_groups(self) -> None:
        """Start the samples of a problem that stand together, while the batch has room.

        Not sooner: until then the queue grows, and larger groups share more.
        """
        wanted = self._config.engine.max_num_seqs
        while self._queued and len(self._rows) + len(self._waiting) < wanted:
            task_id = self._queued[0].task_id
            size = next(
                (i for i, r in enumerate(self._queued) if r.task_id != task_id), len(self._queued)
            )
            size = min(size, self.largest_group)
            group, self._queued = self._queued[:size], self._queued[size:]
            seeds = np.array([request.seed for request in group], np.int64)
            streams = np.array([self._stream(request) for request in group], np.uint64)
            sampling = self._config.sampling
            stops = group[0].prompt.stop_strings(sampling.prompt_style, sampling.stop)
            self._stops[task_id] = list(stops)
            self._waiting.append(Row(task_id, seeds, streams))

    def _enqueue_rows(self) -> None:
        """Give the waiting rows to the engine."""
        names = [str(self._count + i) for i in range(len(self._waiting))]
        self._count += len(names)
        self._shared |= zip(names, self._waiting, strict=True)
        params = [self._params(name, row) for name, row in zip(names, self._waiting, strict=True)]
        prompts = [
            {"prompt_token_ids": [*self._prompts[row.task_id], *row.prefix]}
            for row in self._waiting
        ]
        ids = self._llm.enqueue(prompts, params, use_tqdm=False)
        for request_id, name in zip(ids, names, strict=True):
            self._rows[request_id.partition("-")[0]] = name
        self._waiting.clear()

    def _params(self, name: str, row: Row) -> Any:
        """Those of a row's request. Greedy: the processor decides which token is the largest."""
        stop = self._stops[row.task_id]
        return self._vllm.SamplingParams(
            temperature=0.0,
            max_tokens=self._config.sampling.max_tokens - len(row.prefix),
            stop=stop,
            detokenize=bool(stop),
            extra_args={
                "row": name,
                "temperature": self._config.sampling.temperature,
                "top_p": self._config.sampling.top_p,
            },
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
        )

    def _finish(self, output: Any) -> None:
        """All samples that are still in a row end with it."""
        row = self._shared.pop(self._rows.pop(output.request_id))
        (completion,) = output.outputs
        made = list(completion.token_ids)
        if made != row.tokens:
            raise EngineFailure("vLLM has taken other tokens than --share-prefixes drew")
        self._split(row)
        tokens = [*row.prefix, *made]
        prompt = len(self._prompts[row.task_id])
        cached = min(output.num_cached_tokens or 0, prompt)
        self._end(row, tokens, completion.finish_reason, cached, len(made))

    def _split(self, row: Row) -> None:
        """Let the samples go on that left the row, or end them if their last token ends them."""
        for branch in row.split():
            prompt = len(self._prompts[row.task_id])
            tokens = branch.prefix
            if tokens[-1] in self._ends or self._text(row.task_id, tokens, "")[2]:
                self._end(branch, tokens, "stop", prompt, 0)
            elif (
                len(tokens) >= self._config.sampling.max_tokens
                or prompt + len(tokens) >= self._config.engine.max_model_len
            ):
                self._end(branch, tokens, "length", prompt, 0)
            else:
                self._waiting.append(branch)

    def _end(self, row: Row, tokens: list[int], reason: str, cached: int, made: int) -> None:
        """The samples of a row. Its `cached` and its `made` tokens count for the first one."""
        text, length, stopped = self._text(row.task_id, tokens, reason)
        finish: FinishReason = "stop" if stopped else REASONS.get(reason, "abort")
        prompt = len(self._prompts[row.task_id])
        for i, seed in enumerate(row.seeds.tolist()):
            self._ended.append(
                Sample(
                    row.task_id,
                    seed,
                    text,
                    length,
                    finish,
                    prompt_tokens=prompt,
                    cached_tokens=prompt if i else cached,
                    computed_tokens=0 if i else made,
                )
            )

    def _text(self, task_id: str, tokens: list[int], reason: str) -> tuple[str, int, bool]:
        """The text of these tokens, how many of them it needs, and whether a stop string ends it.

        By vLLM's own detokenizer. A stop string may have begun in the prefix of a row, which is a
        part of the prompt for vLLM. So it is looked for here again, from the first token on.
        """
        stops = self._stops[task_id]
        if not reason and not stops:
            return "", len(tokens), False
        request = SimpleNamespace(
            request_id=task_id,
            prompt_token_ids=self._prompts[task_id],
            prompt_embeds=None,
            sampling_params=self._vllm.SamplingParams(stop=stops),
        )
        words = self._detokenizer.from_new_request(self._tokenizer, request)
        for i, token in enumerate(tokens):
            if words.update([token], reason == "stop" and token in self._ends):
                return words.output_text, i + 1, True
        return words.output_text, len(tokens), False

    def _stream(self, request: Request) -> int:
        """The random stream of a sample: of the run's seeds, or of the engine's own one."""
        prompt = np.array(self._prompts[request.task_id], np.int64)
        of_prompt = zlib.crc32(prompt.tobytes())
        if self._seed is None:
            return stream_of(0, of_prompt, self._config.sampling.base_seed + request.seed)
        return stream_of(self._seed, of_prompt, request.seed)
