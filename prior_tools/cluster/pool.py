"""The head of a run on a cluster: gives jobs to servers on it, and alone writes what they make."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import PriorError, counted, listing, reason
from ..generating.crew import Orders
from ..generating.jobs import Job
from ..generating.uploads import Uploads
from ..generating.work import GenerationStopped, ServerLeft
from .actor import Ready, Setup, Unfit
from .pace import Pace, rate, slow
from .ray_cluster import Share, cause, connect, errors_of_loss, room, start_actor
from .session import Made, NotMade, Parcel, Plan

# Seconds between two looks at whether anything has come, whether there is room for more servers,
# how fast they are, and whether a machine that lacked something has it now.
_WAIT = 0.5
_ROOM_EVERY = 5.0
_PACE_EVERY = 2.0
_UNFIT_EVERY = 30.0
# Seconds after which it is told what servers there could be.
_TELL_AFTER = 60.0
_END_PATIENCE = 5.0
# An actor that Ray gives up so often in a row will not be tried again.
_MOST_DEATHS = 5
_MOST_TOLD = 10


@dataclass(eq=False)
class _Member:
    """An actor and what is under way there.

    Attributes:
        actor: its handle.
        asked: the call that asks whether it is ready; None while it works or is unfit.
        fit: whether it may have jobs.
        jobs: by the calls that make them.
        node: the machine, in words; "" before it is known. properties: of its server.
        unfit: why it is not fit; again: when to ask again.
    """

    actor: Any
    asked: Any
    fit: bool = False
    jobs: dict[Any, Job] = field(default_factory=dict)
    node: str = ""
    properties: dict[str, Any] = field(default_factory=dict)
    unfit: str = ""
    again: float = 0.0
    pace: Pace = field(default_factory=Pace)


class Cluster:
    """Servers on a Ray cluster; see `Crew`.

    Ray places the actors, starts them again and asks them again whether they are ready. Jobs that
    were lost with one do not wait for it: they go back to the others, as with servers that were
    named. Of each server at most `setup.depth` jobs are under way, so that no more results wait
    in Ray's object store.

    Args:
        address: see `connect`.
        setup: of the servers.
        share: that each takes.
        servers: most of them; None for as many as the cluster has room for, also later. A number
            is asked of Ray at once, for autoscalers to see. There are never more than jobs.
        tell: prints a line.
    """

    def __init__(
        self,
        address: str | None,
        setup: Setup,
        share: Share,
        servers: int | None,
        tell: Callable[[str], None],
    ) -> None:
        self._address, self._setup, self._share = address, setup, share
        self._servers, self._tell = servers, tell
        self._ray: Any = None
        self._lost: tuple[type[Exception], ...] = ()
        self._members: list[_Member] = []
        self._plan: Plan | None = None
        self._runs = 0
        self._deaths = 0
        self._told: set[str] = set()
        self._looked = {"room": -math.inf, "pace": -math.inf}
        self._alone_since = math.inf
        self._properties: list[dict[str, Any]] = []
        self._used: list[dict[str, Any]] = []

    @contextmanager
    def open(self, jobs: int) -> Iterator[None]:
        """Raises PriorError if there is no cluster, or no room on it."""
        self._ray = connect(self._address)
        self._lost = errors_of_loss(self._ray)
        try:
            self._check_room()
            self._alone_since = time.monotonic()
            self._grow(jobs)
            yield
        finally:
            self._close()

    def _close(self) -> None:
        try:
            # Killed, each takes its server along as well; told to, it sees it go.
            ends = [member.actor.end.remote() for member in self._members if member.fit]
            if ends:
                self._ray.wait(ends, num_returns=len(ends), timeout=_END_PATIENCE)
            for member in self._members:
                self._ray.kill(member.actor)
        except self._ray.exceptions.RayError:
            # Of a cluster that is gone, nothing is left to end.
            pass
        finally:
            self._ray.shutdown()

    @property
    def size(self) -> int:
        """One thread feeds all of them."""
        return 1

    def object_info(self) -> dict[str, Any]:
        """The nodes that the first server knows that is up, by class.

        Raises PriorError if none comes up.
        """
        while True:
            for member in self._members:
                if member.fit:
                    try:
                        answer = self._ray.get(member.actor.object_info.remote())
                    except self._lost:
                        self._ask(member)
                        continue
                    if isinstance(answer, Unfit):
                        self._leave_out(member, answer, self._tell)
                        continue
                    info: dict[str, Any] = answer
                    return info
            try:
                self._await(self._tell)
            except GenerationStopped as error:
                raise PriorError(str(error)) from error

    def versions(self) -> dict[str, str]:
        """Those of the first server."""
        first = self._properties[0] if self._properties else {}
        return {k: v for k, v in first.items() if k not in ("threads", "device")}

    def record(self) -> list[dict[str, Any]]:
        """Threads, versions and device of the servers that made images."""
        return self._used

    def workers(self, orders: Orders) -> Sequence[Callable[[], None]]:
        """One, that feeds all servers."""
        return [lambda: self._work(orders)]

    def _work(self, orders: Orders) -> None:
        try:
            self._runs += 1
            self._plan = Plan(orders.workflow, orders.run_id, self._runs)
            self._used = []
            self._alone_since = time.monotonic()
            for member in self._members:
                # It may be fit for another plan.
                member.unfit = ""
                self._ask(member)
            uploads = Uploads()
            while not orders.work.stopping.is_set() and not orders.work.finished:
                self._grow(orders.work.left)
                self._fill(orders, uploads)
                self._await(orders.tell, orders)
                self._look_at_paces(orders)
        except BaseException as error:
            orders.work.stop(error)
        finally:
            for member in self._members:
                member.jobs.clear()

    def _check_room(self) -> None:
        count, nodes = room(self._ray.nodes(), self._share)
        if count or self._servers:
            return
        raise PriorError(
            f"the cluster has no room for a server of {self._share}; its nodes have "
            f"{listing(nodes, _MOST_TOLD) or 'nothing'}. --gpus-per-server 0 makes images on "
            "CPUs, and --servers N asks an autoscaler for the room of N"
        )

    def _grow(self, jobs: int) -> None:
        """Ask Ray for as many actors as there is room for, or as were asked for."""
        if not self._is_time("room", _ROOM_EVERY):
            return
        wanted = self._servers or room(self._ray.nodes(), self._share)[0]
        for _ in range(min(wanted, jobs) - len(self._members)):
            actor = start_actor(self._ray, self._setup, self._share)
            member = _Member(actor, None)
            self._members.append(member)
            self._ask(member)

    def _ask(self, member: _Member) -> None:
        """Have it start its server, on whatever machine it is, and look for what is needed."""
        member.fit = False
        member.pace.pause()
        # It changes nothing where it is so already, so Ray may ask as often as it takes.
        call = member.actor.ready.options(max_task_retries=-1)
        member.asked = call.remote(self._plan)

    def _fill(self, orders: Orders, uploads: Uploads) -> None:
        """Give each server its share. One job each in turn, for few of them to be spread out."""
        fit = [member for member in self._members if member.fit]
        for depth in range(1, self._setup.depth + 1):
            for member in fit:
                job = orders.work.take() if len(member.jobs) < depth else None
                if job is not None:
                    data = uploads.data(job.label_maps)
                    parcel = Parcel(job.name, job.seed, job.images, job.upload_name, data)
                    member.jobs[member.actor.make.remote(parcel)] = job
        now = time.monotonic()
        for member in fit:
            if member.jobs:
                member.pace.begin(now)
            else:
                member.pace.pause()

    def _await(self, tell: Callable[[str], None], orders: Orders | None = None) -> None:
        """Wait a moment, and take what has come.

        Raises GenerationStopped if the run cannot go on.
        """
        owners = {member.asked: member for member in self._members if member.asked is not None}
        owners |= {call: member for member in self._members for call in member.jobs}
        if owners:
            calls = list(owners)
            done, _ = self._ray.wait(calls, num_returns=1, timeout=_WAIT)
            if done:
                done, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
            for call in done:
                member = owners[call]
                if call == member.asked:
                    self._take_answer(member, tell, orders)
                elif call in member.jobs:
                    assert orders is not None, "jobs are of a run"
                    self._take_images(member, call, orders)
        else:
            time.sleep(_WAIT)
        self._look_at_members(tell)

    def _take_answer(
        self, member: _Member, tell: Callable[[str], None], orders: Orders | None
    ) -> None:
        """Whether it is ready."""
        call, member.asked = member.asked, None
        try:
            answer = self._ray.get(call)
        except self._lost as error:
            # Ray will not start it again.
            self._members.remove(member)
            jobs, member.jobs = member.jobs, {}
            for job in jobs.values():
                assert orders is not None, "jobs are of a run"
                orders.work.give_back(job, lost=True)
            self._deaths += 1
            text = f"Ray gave up a server: {reason(error)}"
            if self._deaths >= _MOST_DEATHS:
                raise GenerationStopped(f"{text} ({self._deaths} times in a row)") from error
            tell(text)
            return
        except self._ray.exceptions.RayError as error:
            text = str(cause(error))
            raise GenerationStopped(f"a server cannot be started: {text}") from error
        if isinstance(answer, Unfit):
            self._leave_out(member, answer, tell)
            return
        assert isinstance(answer, Ready)
        member.node, member.properties = answer.node, answer.properties
        self._deaths, member.unfit, member.fit = 0, "", True
        if answer.properties not in self._properties:
            self._properties.append(answer.properties)
            if len(self._properties) > 1:
                kinds = listing([_in_words(each) for each in self._properties], _MOST_TOLD)
                self._tell_once(
                    f"servers differ, and so may images in their last bits: {kinds}", tell
                )

    def _leave_out(self, member: _Member, answer: Unfit, tell: Callable[[str], None]) -> None:
        """It has nothing to do until it has what it lacks."""
        member.fit = False
        member.unfit = f"{answer.node}: {answer.text}"
        member.again = time.monotonic() + _UNFIT_EVERY
        self._tell_once(f"left out for now: {member.unfit}", tell)

    def _take_images(self, member: _Member, call: Any, orders: Orders) -> None:
        """What came of a job."""
        job = member.jobs.pop(call)
        try:
            outcome = self._ray.get(call)
        except self._lost:
            outcome = NotMade("the server's process or machine was lost", ends_run=False)
        except self._ray.exceptions.RayError as error:
            raise GenerationStopped(f"{job.name}: {cause(error)}") from error
        if isinstance(outcome, NotMade):
            if outcome.ends_run:
                raise GenerationStopped(outcome.text)
            if member.fit:
                orders.tell(f"lost a server on {member.node}: {outcome.text}")
                self._ask(member)
            orders.work.give_back(job, lost=True)
            return
        assert isinstance(outcome, Made)
        orders.save(job, outcome.images, outcome.warnings)
        orders.work.done(job)
        member.pace.made(job.images, time.monotonic())
        if member.properties not in self._used:
            self._used.append(member.properties)

    def _look_at_members(self, tell: Callable[[str], None]) -> None:
        """Ask those that lacked something again, and see whether any is left."""
        now = time.monotonic()
        for member in self._members:
            if member.unfit and member.asked is None and now >= member.again:
                self._ask(member)
        if any(member.fit for member in self._members):
            self._alone_since = now
            return
        # Where servers have worked, what came over all of them may pass.
        unfit = self._members and all(member.unfit for member in self._members)
        alone = now - self._alone_since
        if unfit and (not self._used or alone > self._setup.patience):
            texts = sorted({member.unfit for member in self._members})
            raise GenerationStopped(f"no server is fit for the workflow: {listing(texts, 5)}")
        if alone > _TELL_AFTER and not unfit:
            count, nodes = room(self._ray.nodes(), self._share)
            self._tell_once(
                f"no server is up yet; each takes {self._share}, and the cluster's nodes have "
                f"{listing(nodes, _MOST_TOLD)}: room for {count} if nothing else runs there",
                tell,
            )
        if alone > self._setup.patience and self._properties:
            raise ServerLeft(f"there was no server for {self._setup.patience:g} s")

    def _look_at_paces(self, orders: Orders) -> None:
        """Show how fast servers are, and name those that hold up the others."""
        if not self._is_time("pace", _PACE_EVERY):
            return
        now = time.monotonic()
        paces = {str(i): member.pace for i, member in enumerate(self._members) if member.fit}
        each = rate(paces, now)
        shown = counted(len(paces), "server")
        orders.show(f"{shown}, {each:.2g} img/s each" if each else shown)
        for key, (seconds, median) in slow(paces, now).items():
            node = self._members[int(key)].node
            if node not in self._told:
                self._told.add(node)
                orders.tell(
                    f"slow: a server on {node} takes {seconds:.3g} s an image, the median "
                    f"{median:.3g} s"
                )

    def _tell_once(self, text: str, tell: Callable[[str], None]) -> None:
        if text not in self._told:
            self._told.add(text)
            tell(text)

    def _is_time(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._looked[what] + every:
            return False
        self._looked[what] = now
        return True


def _in_words(properties: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in properties.items())
