"""The worker of the back end `wasm`: a fresh instance of CPython-WASI for each program, without files, network or environment.

Run as `python wasm_worker.py SOCKET` by sandbox/wasm.py. Frames as the zygote's, and the same answers.
"""

import contextlib
import os
import select
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from wasmtime import Config, Engine, ExitTrap, Store, Trap, TrapCode, WasiConfig, WasmtimeError
from wasmtime.component import Component, Linker

if TYPE_CHECKING:
    from sandbox import lockdown, wire
else:  # this file runs as a script, so its own folder is on the path
    import lockdown
    import wire

FUEL_PER_SECOND = 10_000_000_000  # about what a core of these years spends: 1e9 took 90 to 130 ms
FUEL_PER_LINE = 300_000  # what it costs the host to take one
MOST_CPU = 20.0
"""Times its limit that a program may take of a core: past that it is calls of the host that it spends, which are no fuel."""
TICK = 0.05
ANSWERING = threading.Lock()


class Instance:
    """The compiled component with its one import, which collects what a program answers."""

    def __init__(self, path: str) -> None:
        config = Config()
        config.consume_fuel = True
        self.engine = Engine(config)
        self.component = Component.deserialize_file(self.engine, path)
        self.linker = Linker(self.engine)
        self.linker.add_wasip2()
        self.store: Store | None = None
        self.channel = -1
        """To the parent, for the program under way."""
        with self.linker.root() as root:
            root.add_func("emit", self._emit)

    def _emit(self, context: Any, line: str) -> None:
        assert self.store is not None
        self.store.set_fuel(max(0, self.store.get_fuel() - FUEL_PER_LINE))
        data = line.encode(errors="backslashreplace")
        while data:
            data = data[os.write(self.channel, data) :]

    def run(self, bounds: wire.Bounds, program: tuple[str, list[str], int, int]) -> wire.Ending:
        """One program in an instance of its own."""
        store = self.store = Store(self.engine)
        store.set_wasi(WasiConfig())
        fuel = int(bounds.cpu * FUEL_PER_SECOND)
        store.set_fuel(fuel)
        store.set_limits(memory_size=int(bounds.memory), instances=64, memories=4, tables=64)
        reason = "ended"
        try:
            instance = self.linker.instantiate(store, self.component)
            run = instance.get_func(store, "run")
            assert run is not None
            os.write(self.channel, b"+")
            run(store, *program)
        except ExitTrap as stop:
            reason = f"exit {stop.code}"
        except OSError:
            reason = "flood"  # the parent reads no more
        except (Trap, WasmtimeError) as error:
            out_of_fuel = isinstance(error, Trap) and error.trap_code is TrapCode.OUT_OF_FUEL
            reason = "cpu" if out_of_fuel or store.get_fuel() == 0 else "signal 11"
        return wire.Ending(reason, (fuel - store.get_fuel()) / FUEL_PER_SECOND, 0.0)


def guard(control: socket.socket, doing: dict[str, Any], status: int | None) -> None:
    """`watch`, without which no program runs on: when it ends, for whatever reason, this process does."""
    try:
        watch(control, doing, status)
    finally:
        os._exit(1)


def watch(control: socket.socket, doing: dict[str, Any], status: int | None) -> None:
    """Beside the instance: returns when the parent is gone, or when a program has slept too long.

    Where the kernel tells (`status`), only a thread that sleeps counts as asleep, not one that waits for a core.
    """
    last, asleep, waited, number, since = 0.0, 0.0, 0.0, 0, 0.0
    poll = select.poll()
    poll.register(control, select.POLLHUP)
    while True:
        begun = time.monotonic()
        if poll.poll(TICK * 1000):
            return
        look = min(TICK, time.monotonic() - begun)
        now = time.process_time()
        bounds = doing["bounds"]  # read once: the program may end at any time
        if doing["number"] != number or bounds is None:
            number, asleep, waited, since = doing["number"], 0.0, 0.0, now
        else:
            idle = now - last < 0.1 * look if status is None else b") S" in os.pread(status, 512, 0)
            waited += look if idle or status is None else 0.0
            asleep = asleep + look if idle else 0.0
            doing["waited"] = waited
            busy = now - since > MOST_CPU * bounds.cpu + 1
            if busy or asleep >= bounds.idle or waited >= bounds.wall:
                with ANSWERING:
                    if doing["number"] == number and doing["bounds"]:
                        with contextlib.suppress(OSError):
                            wire.send_ending(
                                control, "cpu" if busy else "idle", bounds.cpu if busy else 0.0, waited, last=True
                            )
                        return
        last = now


def main() -> None:
    """Load the component, lock this process where the kernel can, then serve until the parent closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = wire.read_frame(control)
    if first is None:
        return
    instance = Instance(first["component"])
    status = None
    if sys.platform == "linux":
        status = os.open(f"/proc/self/task/{threading.get_native_id()}/stat", os.O_RDONLY)
        if lockdown.landlock_version() >= lockdown.SMALLEST_LANDLOCK:
            lockdown.Landlock([]).restrict()
    wire.write_frame(control, {})
    doing: dict[str, Any] = {"number": 0, "bounds": None, "waited": 0.0}
    threading.Thread(target=guard, args=(control, doing, status), daemon=True).start()
    while (request := wire.receive_request(control)) is not None:
        bounds, instance.channel = request
        program = wire.read_program(instance.channel)
        doing.update(number=doing["number"] + 1, bounds=bounds, waited=0.0)
        ending = instance.run(bounds, program)
        os.close(instance.channel)
        with ANSWERING:
            doing["bounds"] = None
            wire.send_ending(control, ending.reason, ending.cpu, doing["waited"])


if __name__ == "__main__":
    main()
