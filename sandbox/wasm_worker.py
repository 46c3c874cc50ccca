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

from wasmtime import Config, Engine, ExitTrap, Store, Trap, WasiConfig, WasmtimeError
from wasmtime.component import Component, Linker

if TYPE_CHECKING:
    from sandbox import lockdown
    from sandbox.frames import read_frame, write_frame
else:  # this file runs as a script, so its own folder is on the path
    import lockdown
    from frames import read_frame, write_frame

FUEL_PER_SECOND = 10_000_000_000  # about what a core of these years spends: 1e9 took 90 to 130 ms
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
        self.raw = bytearray()
        self.most_bytes = 0
        with self.linker.root() as root:
            root.add_func("emit", self._emit)

    def _emit(self, store: Any, line: str) -> None:
        if len(self.raw) + len(line) > self.most_bytes:
            raise OverflowError("flood")
        self.raw += line.encode()

    def run(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """One program in an instance of its own."""
        begun = time.monotonic()
        self.raw, self.most_bytes = bytearray(b"+"), request["most_bytes"]
        store = Store(self.engine)
        store.set_wasi(WasiConfig())
        fuel = int(request["cpu"] * FUEL_PER_SECOND)
        store.set_fuel(fuel)
        store.set_limits(memory_size=request["memory"], instances=64, memories=4, tables=64)
        why = "ended"
        try:
            instance = self.linker.instantiate(store, self.component)
            run = instance.get_func(store, "run")
            assert run is not None
            run(store, request["code"], request["calls"], request["start"], request["output"])
        except ExitTrap as stop:
            why = f"exit {stop.code}"
        except OverflowError:
            why = "flood"
        except (Trap, WasmtimeError) as error:
            why = "cpu" if store.get_fuel() == 0 or "all fuel consumed" in str(error) else "signal 11"
        used = (fuel - store.get_fuel()) / FUEL_PER_SECOND
        return {"why": why, "cpu": used, "wall": time.monotonic() - begun}, bytes(self.raw)


def watch(control: socket.socket, doing: dict[str, Any]) -> None:
    """Beside the instance: ends this process when the parent is gone, or when a program has slept too long."""
    last, asleep, looks = 0.0, 0, 0
    poll = select.poll()
    poll.register(control, select.POLLHUP)
    number = 0
    while True:
        if poll.poll(TICK * 1000):
            os._exit(0)
        now = time.process_time()
        if doing["number"] != number or not doing["idle"]:
            number, asleep, looks = doing["number"], 0, 0
        else:
            looks += 1
            asleep = asleep + 1 if now - last < 0.005 else 0  # looking costs a little itself
            if asleep * TICK >= doing["idle"] or looks * TICK >= doing["wall"]:
                with ANSWERING:
                    if doing["number"] == number and doing["idle"]:
                        raw = bytes(doing["instance"].raw)
                        with contextlib.suppress(OSError):
                            write_frame(control, {"why": "idle", "cpu": 0.0, "wall": looks * TICK, "last": True}, raw)
                        os._exit(0)
        last = now


def main() -> None:
    """Load the component, lock this process where the kernel can, then serve until the parent closes the socket."""
    control = socket.socket(fileno=int(sys.argv[1]))
    first = read_frame(control)
    if first is None:
        return
    instance = Instance(first[0]["component"])
    if sys.platform == "linux" and lockdown.landlock_version() >= lockdown.SMALLEST_LANDLOCK:
        lockdown.Landlock([]).restrict()
    write_frame(control, {"missing": []})
    doing: dict[str, Any] = {"number": 0, "idle": 0.0, "wall": 0.0, "instance": instance}
    threading.Thread(target=watch, args=(control, doing), daemon=True).start()
    while (frame := read_frame(control)) is not None:
        doing.update(number=doing["number"] + 1, idle=frame[0]["idle"], wall=frame[0]["wall"])
        answer = instance.run(frame[0])
        with ANSWERING:
            doing["idle"] = 0.0
            write_frame(control, *answer)


if __name__ == "__main__":
    main()
