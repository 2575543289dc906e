"""One server at work: keeps its queue filled, collects results, waits while it is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from ..errors import PriorError
from .comfy_client import AccessDenied, ComfyClient, ServerGone, ServerRefused
from .node_warnings import NodeWarning, warnings_of
from .prepared_workflow import PreparedWorkflow
from .results import checked_result, output_images, rejection
from .work import GenerationStopped, Named, ServerLeft, Work
from .workflow_file import Prompt

# Of the servers' input folders, for label maps.
SUBFOLDER = "scp_generate"

# Seconds between two looks at a server's results, and at whether it still has our prompts.
_PAUSES = (0.03, 0.5)
_LOST_CHECK = 2.0
_RETRIES = (0.25, 10.0)


class Prompted(Named, Protocol):
    """A job, as far as it matters for a server."""

    @property
    def seed(self) -> int:
        """Of the prompt."""

    @property
    def images(self) -> int:
        """How many the prompt makes."""

    @property
    def upload_name(self) -> str:
        """A name for the file with the label maps, made of its content."""


J = TypeVar("J", bound=Prompted)


class Driver(Generic[J]):
    """Makes jobs on one server until none is left; `run` is meant for a thread of its own.

    Args:
        upload: gives the file with a job's label maps.
        save: takes a job's images (PNG data, one for each label map) and what nodes warned of,
            from several threads.
        run_id: by which prompts of this run are known again on the server.
        depth: most prompts in the server's queue at once.
        patience: seconds to wait for a server that is away.
        tell: prints a line.
        fresh: gives a job's text of that name for `PreparedWorkflow.filled`.
    """

    def __init__(
        self,
        client: ComfyClient,
        work: Work[J],
        workflow: PreparedWorkflow,
        upload: Callable[[J], bytes],
        save: Callable[[J, list[bytes], list[NodeWarning]], None],
        run_id: str,
        depth: int,
        patience: float,
        tell: Callable[[str], None],
        fresh: Callable[[J], str | None] = lambda _job: None,
    ) -> None:
        self._client, self._work, self._workflow = client, work, workflow
        self._upload, self._save = upload, save
        self._run_id, self._depth = run_id, depth
        self._patience, self._tell, self._fresh = patience, tell, fresh
        # By prompt id.
        self._queued: dict[str, J] = {}
        # Label image's name on the server by that of the upload.
        self._uploaded: dict[str, str] = {}
        self._looked = 0.0

    def run(self) -> None:
        """Work until all jobs are done or the run stops; errors stop the run."""
        try:
            back = self._reached(self._adopt) or self._await_server()
            while back and not self._work.stopping.is_set() and not self._work.finished:
                back = self._reached(self._work_on) or self._await_server()
        except ServerRefused as error:
            self._work.stop(GenerationStopped(str(error)))
        except BaseException as error:
            self._work.stop(error)
        finally:
            with suppress(ServerGone, ServerRefused):
                if self._queued:
                    self._client.cancel(list(self._queued))

    def _work_on(self) -> None:
        """Fill the queue and collect, until nothing is left to do here."""
        pause = _PAUSES[0]
        while not self._work.stopping.is_set() and not self._work.finished:
            self._fill()
            pause = _PAUSES[0] if self._collect() else min(pause * 1.5, _PAUSES[1])
            self._work.stopping.wait(pause)

    def _reached(self, action: Callable[[], None]) -> bool:
        """Do something with the server; False if it went away, with its jobs given back."""
        try:
            action()
            return True
        except ServerGone as error:
            if not self._work.finished:
                self._tell(f"lost {error}; waiting up to {self._patience:g} s for it")
            queued, self._queued = self._queued, {}
            self._uploaded.clear()
            # Other servers may have them. If this one comes back with its queue, they are adopted.
            for job in reversed(queued.values()):
                self._work.give_back(job, lost=True)
            return False

    def _await_server(self) -> bool:
        """Wait until the server is back; False if it is given up while others work on."""
        deadline = time.monotonic() + self._patience
        pause, why = _RETRIES[0], "it does not answer"
        while not self._work.stopping.is_set() and not self._work.finished:
            try:
                self._adopt()
                self._tell(f"{self._client.url} is back")
                return True
            except ServerGone as error:
                why = str(error)
            if time.monotonic() >= deadline:
                text = f"{self._client.url} was away for {self._patience:g} s ({why})"
                if not self._work.leave():
                    raise ServerLeft(f"{text}, and no other server is left")
                self._tell(f"{text}; going on without it")
                return False
            self._work.stopping.wait(min(pause, max(deadline - time.monotonic(), 0.01)))
            pause = min(pause * 2, _RETRIES[1])
        return True

    def _adopt(self) -> None:
        """Take over prompts of this run that the server has from before."""
        running, waiting = self._client.queued()
        found = {**self._client.succeeded(4 * self._depth), **running, **waiting}
        unwanted = []
        for prompt_id, mark in found.items():
            if not isinstance(mark, dict) or mark.get("run") != self._run_id:
                continue
            job = self._work.claim(str(mark.get("job")))
            if job is not None:
                self._queued[prompt_id] = job
            elif prompt_id in waiting:
                unwanted.append(prompt_id)
        if unwanted:
            self._client.cancel(unwanted)

    def _fill(self) -> None:
        while len(self._queued) < self._depth:
            job = self._work.take()
            if job is None:
                return
            try:
                prompt = self._prompt_of(job)
                mark = {"run": self._run_id, "job": job.name}
                self._queued[self._client.submit(prompt, mark)] = job
            except AccessDenied:
                raise
            except ServerRefused as error:
                raise GenerationStopped(
                    rejection(self._workflow.prompt, job.name, error)
                ) from error
            except ServerGone:
                self._work.give_back(job)
                raise

    def _prompt_of(self, job: J) -> Prompt:
        name = job.upload_name
        if name not in self._uploaded:
            self._uploaded[name] = self._sent(name, self._upload(job))
        return self._workflow.filled(self._uploaded[name], job.seed, self._fresh(job))

    def _sent(self, name: str, data: bytes) -> str:
        """Send a file; returns its name for LoadImage, which images keep in their metadata."""
        found = self._client.upload(name, data, SUBFOLDER)
        if found != f"{SUBFOLDER}/{name}":
            # Half a file was there: another server with this input folder was writing it.
            found = self._client.upload(name, data, SUBFOLDER)
        return found

    def _collect(self) -> bool:
        """Save what has ended, and give back what the server no longer knows; whether any."""
        before = len(self._queued)
        # The server ends the first first. Asked for the last first, whatever has ended before a
        # prompt that failed is seen and saved, and all is saved in the order of the queue.
        ended = {prompt_id: self._client.result(prompt_id) for prompt_id in reversed(self._queued)}
        for prompt_id, job in list(self._queued.items()):
            self._save_result(prompt_id, job, ended[prompt_id])
        if time.monotonic() > self._looked + _LOST_CHECK:
            self._looked = time.monotonic()
            running, waiting = self._client.queued()
            for prompt_id, job in list(self._queued.items()):
                # A prompt leaves the queue and enters the history in one step, so the second look
                # is at the history.
                if prompt_id in running or prompt_id in waiting:
                    continue
                if not self._save_result(prompt_id, job, self._client.result(prompt_id)):
                    self._lose(prompt_id)
        return len(self._queued) != before

    def _save_result(self, prompt_id: str, job: J, entry: dict[str, Any] | None) -> bool:
        """Save the images of a prompt if it has ended, so that there is a history entry of it."""
        if entry is None:
            return False
        prompt = self._workflow.prompt
        found = checked_result(prompt, self._workflow.output, entry, job.name, job.images)
        try:
            images = output_images(self._client, found)
        except PriorError as error:
            raise GenerationStopped(f"{job.name}: {error}") from error
        except ServerRefused as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            # Somebody tidied the server's folders.
            self._lose(prompt_id)
            return True
        del self._queued[prompt_id]
        self._save(job, images, warnings_of(prompt, entry))
        self._work.done(job)
        return True

    def _lose(self, prompt_id: str) -> None:
        """Give back the job of a prompt that is not on the server any more."""
        job = self._queued.pop(prompt_id)
        self._uploaded.clear()
        self._work.give_back(job, lost=True)
