"""The loop of live transcription: chunks go to their sessions, sessions that are due are heard together, and what they say is committed.

One transaction writes what was said, the state of each session that changed, and the offsets of the chunks that are in those
states. So whoever has the partition next goes on with exactly what readers were told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from kafka import TopicPartition
from kafka.errors import KafkaError

from pipelines.stream.brokers import Brokers
from pipelines.stream.hearing import Apart, Heard, hear
from pipelines.stream.seats import LivePartition, Seat
from pipelines.stream.spec import StreamSpec
from pipelines.stream.watch import Watch
from pipelines.supervised import Control
from pipelines.warm import WarmEngine
from sinks import live as messages, replies
from sinks.kafka import TRANSACTION_MS, Record
from sources import chunks, claims
from sources.kafka import Mark, Message
from transforms import pull, steps
from transforms.errors import WavemillError, kind
from transforms.live import Chunk, Session
from transforms.records import Failure, Outcome
from transforms.settings import KafkaAccess, Settings
from transforms.store import Store

TICK_S, IDLE_TICK_S = 0.02, 0.1
SAVE_S = 1.0
"""Chunks of which nothing is said yet are committed so often; what is said, at once."""
RETRY_S = 2.0
HELD_BYTES = 64 << 20
GRACE_S = 5.0
STATE_WAIT_S = 2 * TRANSACTION_MS / 1000
"""How long a dead worker's open transaction may hide states."""


class LiveWorker:
    """As `Worker`, for sessions."""

    def __init__(
        self, spec: StreamSpec, settings: Settings, access: KafkaAccess, control: Control, watch: Watch, say: Callable[[str], None]
    ) -> None:
        self.spec, self.settings, self.control, self.watch, self.say = spec, settings, control, watch, say
        self.brokers = Brokers(spec, access, control, watch, say)
        self.stop = threading.Event()
        self.partitions: dict[TopicPartition, LivePartition] = {}
        self.deaths: dict[TopicPartition, Mark] = {}
        """What former workers left at partitions that this one has begun anew."""
        self.lanes: dict[Future[list[Outcome]], tuple[Sequence[Seat], float]] = {}
        self.decoder, self.ear = Apart(spec, settings), Apart(spec, settings)
        self.lane_apart: Future[list[Outcome]] | None = None

    def run(self) -> bool:
        """Work until told to stop; whether nothing is left running. Raises `bad_usage`, and errors of the system at the start."""
        self.engine = self.spec.new_engine()
        self.options = self.engine.Options.parse(dict(self.spec.options))
        self.engine.check_installed(self.options)
        pull.pull_all(self.engine.models(self.options), self.settings, None)
        self.store = Store(self.spec.out, self.settings.storage_patience_s)
        self.warm = WarmEngine(self.engine, self.store, self.settings, self.stop, None)
        brokers = self.brokers
        if (reader := brokers.patiently(brokers.open_reader)) is None:
            return True
        self.reader = reader
        try:
            self._check_partitions(reader.partitions(self.spec.input))
            states, writer = brokers.patiently(brokers.open_states), brokers.patiently(brokers.open_writer)
            if states is None or writer is None:
                return True
            self.states, self.writer = states, writer
            try:
                reader.subscribe()
                self.watch.state = "running"
                self.say(f"live: {self.spec.input} -> {self.spec.output}: group {self.spec.group}, worker {writer.name}")
                while self.control.reason is None:
                    self._turn()
                return self._drain()
            finally:
                self.decoder.close()
                self.ear.close()
                self.writer.close()
                self.states.close()
        finally:
            reader.close()

    def _check_partitions(self, count: int) -> None:
        there = self.reader.partitions(self.spec.state)
        if there < count:
            detail = f"{self.spec.state} has {there} partitions, {self.spec.input} {count}: each needs one for its states"
            raise WavemillError("bad_usage", detail)

    def _turn(self) -> None:
        found = self.brokers.poll(self.reader, TICK_S if self.lanes else IDLE_TICK_S)
        self._lose()
        for home in self.reader.owned() - set(self.partitions):
            self._adopt(home)
        self._admit(found)
        self._collect()
        now_s = time.monotonic()
        for partition in self.partitions.values():
            if partition.lease:
                self._feed(partition)
                self._close_idle(partition, now_s)
        self._hear(now_s)
        for partition in self.partitions.values():
            partition.outlive()
        self._commit(now_s)
        held = self.partitions.values()
        self.reader.flow({p.home for p in held if len(p.queue) >= self.spec.max_poll or p.bytes >= HELD_BYTES / len(held)})
        lag = self.reader.lag({partition.home: partition.head for partition in held})
        self.watch.turn(sum(len(partition.queue) for partition in held), 0.0, lag)

    def _lose(self) -> None:
        for home in self.reader.take_gone():
            self.partitions.pop(home, None)
            self.deaths.pop(home, None)

    def _adopt(self, home: TopicPartition) -> None:
        """Take a partition up where its group stands, with the sessions that were committed with that."""
        try:
            committed = self.reader.committed(home)
            first = committed.offset if committed.offset is not None else self.reader.beginning(home)
            self._check_partitions(home.partition + 1)
            states = self.states.read(home.partition, committed.mark.state, STATE_WAIT_S)
            self.reader.seek(home, first)
        except (KafkaError, ValueError) as error:  # brokers are away, or it has been taken away meanwhile
            self.say(f"partition {home.partition}: {type(error).__name__}: {error}")
            return
        if states is None:
            self.say(f"partition {home.partition}: states are hidden by a transaction that does not end")
            return
        now_s = time.monotonic()
        seats = {name.decode(): Seat(name.decode(), Session.restored(value), now_s, at) for name, (at, value) in states.items()}
        left = Mark(committed.mark.to, committed.mark.tries)
        partition = LivePartition(home, first, first, committed.mark.state, self.deaths.pop(home, left), seats)
        self.partitions[home] = partition
        if seats:
            self.say(f"partition {home.partition}: {len(seats)} sessions go on at {first}")
        if partition.deaths.tries:
            how = "; it is worked apart for a while" if partition.suspect else ""
            self.say(f"partition {home.partition}: {partition.deaths.tries} workers ended over it{how}")

    def _admit(self, found: Sequence[Message]) -> None:
        for message in found:
            partition = self.partitions.get(message.home)
            if partition and message.offset >= (partition.queue[-1].offset + 1 if partition.queue else partition.next_offset):
                partition.queue.append(message)

    def _feed(self, partition: LivePartition) -> None:
        """Give chunks to their sessions, up to the first whose session must be heard before, or which no mark covers yet."""
        while not partition.starved and partition.queue:
            message = partition.queue[0]
            try:
                chunk = chunks.parse(message.value)
            except WavemillError as error:
                self._refuse(partition, steps.failure_of(error), message)
            else:
                seat = partition.seats.get(chunk.session)
                if seat and seat.session.full:
                    return
                self._give(partition, message, chunk, seat or Seat(chunk.session, Session(), 0.0))
            partition.queue.popleft()
            partition.next_offset = message.offset + 1

    def _give(self, partition: LivePartition, message: Message, chunk: chunks.ChunkMessage, seat: Seat) -> None:
        samples, bad = None, None
        try:
            samples = self.decoder.decode(chunk) if partition.suspect else chunks.samples_of(chunk)
        except WavemillError as error:
            bad = steps.failure_of(error)
        try:
            told = seat.session.feed(Chunk(chunk.seq, samples, chunk.end))
        except WavemillError as error:
            self._refuse(partition, steps.failure_of(error), message, seat.name)
            return
        if bad:
            self._refuse(partition, bad, message, seat.name)
        for other in told:
            self._refuse(partition, steps.failure_of(other), None, seat.name)
        partition.seats[seat.name] = seat
        seat.touched_s, seat.changed, seat.looked = time.monotonic(), True, False

    def _refuse(self, partition: LivePartition, failure: Failure, message: Message | None, session: str = "") -> None:
        """Tell of a chunk, with its bytes where it is this message's."""
        place = replies.Place(topic=partition.home.topic, partition=partition.home.partition, offset=partition.next_offset)
        original = message.value if message else None
        value = replies.failed(place, session, "", "transcribe", self.engine.name, failure, original, self.store)
        key, headers = claims.carried(message.key, message.headers) if message else (session.encode(), ())
        partition.said.append(Record(self.spec.failures, key, value, headers))
        partition.codes.append(failure.code)

    def _close_idle(self, partition: LivePartition, now_s: float) -> None:
        """End sessions that nothing comes for, and forget those that have been over for as long."""
        for seat in list(partition.seats.values()):
            if seat.hearing or now_s - seat.touched_s < self.spec.idle_s:
                continue
            if seat.session.finished:
                del partition.seats[seat.name]
                if seat.at is not None:
                    partition.gone.append(seat.name)
            elif not seat.session.ended and not partition.queue and self.reader.caught_up(partition.home, partition.next_offset):
                for error in seat.session.close():
                    self._refuse(partition, steps.failure_of(error), None, seat.name)
                seat.touched_s, seat.changed, seat.looked = now_s, True, False

    def _hear(self, now_s: float) -> None:
        """Share the sessions that are due out over the engine's free threads; those that waited longest first."""
        free = self.warm.threads - len(self.lanes)
        if free <= 0:
            return
        due, suspects = self._due(now_s, suspect=False), self._due(now_s, suspect=True)
        if suspects and self.lane_apart is None:
            self.lane_apart = self._listen(suspects[:1], now_s, lambda given: [self.ear.hear(one) for one in given])
            free -= 1
        for group in (due[lane::free] for lane in range(free)):
            if group:
                self._listen(group, now_s, lambda given: hear(self.engine, self.options, given, self.stop))

    def _due(self, now_s: float, suspect: bool) -> list[Seat]:
        due = []
        for partition in self.partitions.values():
            if partition.suspect != suspect or not partition.lease:
                continue
            for seat in partition.seats.values():
                if seat.hearing or seat.looked or now_s < seat.retry_at_s:
                    continue
                if seat.session.due():
                    due.append(seat)
                else:
                    seat.looked = True
        return sorted(due, key=lambda seat: len(seat.session.buffer) - seat.session.heard, reverse=True)

    def _listen(self, group: Sequence[Seat], now_s: float, act: Callable[[Sequence[Heard]], list[Outcome]]) -> Future[list[Outcome]]:
        """Have a thread of the engine's hear them."""
        for seat in group:
            seat.hearing = True
        future = self.warm.engine_pool.submit(act, [Heard(seat.name, seat.session.to_hear(), seat.session.language) for seat in group])
        self.lanes[future] = (group, now_s)
        return future

    def _collect(self) -> None:
        for future in [future for future in self.lanes if future.done()]:
            group, began_s = self.lanes.pop(future)
            self.lane_apart = None if future is self.lane_apart else self.lane_apart
            self.watch.batch_s.observe(time.monotonic() - began_s)
            for seat in group:
                seat.hearing = False
            try:
                outcomes = future.result()
            except steps.Stopped:
                return
            except WavemillError as error:
                if error.kind == "usage":
                    raise
                self._put_off(group, error.code, error.detail)
                continue
            homes = {id(seat): partition for partition in self.partitions.values() for seat in partition.seats.values()}
            for seat, outcome in zip(group, outcomes, strict=True):
                if id(seat) in homes:  # else its partition has gone elsewhere meanwhile
                    self._take(homes[id(seat)], seat, outcome)

    def _take(self, partition: LivePartition, seat: Seat, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            if kind(outcome.code) == "transient":
                self._put_off([seat], outcome.code, outcome.detail)
                return
            self._refuse(partition, outcome, None, seat.name)
        if isinstance(outcome, Failure):
            told = seat.session.skip() if outcome.code == "engine_crashed" else seat.session.take({"segments": []})
        else:
            told = seat.session.take(outcome.fields)
        for message in told:
            value = messages.encode(seat.name, message, seat.session.language)
            partition.said.append(Record(self.spec.output, seat.name.encode(), value))
            partition.codes.append(message.kind)
        seat.changed, seat.looked = True, False

    def _put_off(self, group: Sequence[Seat], code: str, detail: str) -> None:
        self.watch.retries.labels(code).inc()
        self.say(f"{len(group)} sessions: {code}: {detail}; again in {RETRY_S:g} s")
        for seat in group:
            seat.retry_at_s = time.monotonic() + RETRY_S

    def _commit(self, now_s: float, last: bool = False) -> None:
        membership = self.reader.membership()  # before asking what is owned: who was fenced in between is refused by the broker
        self._lose()
        owned = self.reader.owned()
        ready = [
            partition
            for home, partition in self.partitions.items()
            if home in owned and (partition.lease if last else partition.starved or self._is_worth_saving(partition, now_s))
        ]
        if not ready:
            return
        saved = [(partition, seat) for partition in ready for seat in partition.seats.values() if seat.changed]
        records = [self._state(partition, seat.name, seat.session.state()) for partition, seat in saved]
        records += [self._state(partition, name, None) for partition in ready for name in partition.gone]
        records += [record for partition in ready for record in partition.said]
        moves, leases = {}, {}
        for partition in ready:
            known = [seat.at for seat in partition.seats.values() if seat.at is not None]
            partition.state_from = min(known, default=partition.state_from)
            mark = partition.mark(last)
            moves[partition.home], leases[partition.home] = (partition.next_offset, mark.encode()), mark.to
        began_s = time.monotonic()
        try:
            offsets = self.brokers.commit(self.writer, records, moves, membership)
        except KafkaError as error:
            self._recover(error)
            return
        self.watch.commit_s.observe(time.monotonic() - began_s)
        for (_, seat), offset in zip(saved, offsets, strict=False):
            seat.at, seat.changed = offset, False
        for partition in ready:
            for code in partition.codes:
                self.watch.messages.labels(code).inc()
            partition.said, partition.codes, partition.gone = [], [], []
            partition.head, partition.saved_s, partition.lease = partition.next_offset, now_s, leases[partition.home]

    def _is_worth_saving(self, partition: LivePartition, now_s: float) -> bool:
        return partition.unsaved and (bool(partition.said) or now_s - partition.saved_s >= SAVE_S)

    def _state(self, partition: LivePartition, name: str, value: bytes | None) -> Record:
        return Record(self.spec.state, name.encode(), value, partition=partition.home.partition)

    def _recover(self, error: Exception) -> None:
        """It is not known whether the transaction was committed: begin again from what Kafka has, with a new producer of the same name."""
        self.say(f"transaction: {type(error).__name__}: {error}")
        self.writer.close()
        self.deaths = {home: partition.deaths for home, partition in self.partitions.items()}
        self.partitions.clear()
        writer = self.brokers.patiently(self.brokers.open_writer)
        if writer is not None:
            self.writer = writer
            self.watch.state = "running"

    def _drain(self) -> bool:
        """Let what is being heard end, within `drain_s`, and save all."""
        self.watch.state = "draining"
        deadline_s = time.monotonic() + self.spec.drain_s
        while self.lanes and not self.control.killed:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self.stop.set()
                self.ear.close()
                if left_s < -GRACE_S:
                    break
            self.brokers.poll(self.reader, 0.0)
            self._lose()
            wait(self.lanes, TICK_S, FIRST_COMPLETED)
            self._collect()
        ended = not self.lanes
        self._commit(time.monotonic(), last=True)
        if ended:
            self.warm.close()
        return ended
