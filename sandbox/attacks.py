"""The attack suite: programs that try to read, write, talk, kill, starve, crash or cheat, with what each would have to do to win.

Each is a heading `#: group name [essential] [allowed:BACKEND]` and a program. It wins if `attack()` returns text with BROKE or
the stage's token, if the stage was touched, or if the worker, the time, the memory or the next program suffered.
"""

import contextlib
import os
import platform
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.python import Limits, Sandbox, SandboxFailed

WALL_SECONDS = 40.0
PARENT_SECONDS = 0.6  # of CPU, of the thread that asked
CALLS = 3
GROWTH_BYTES = 200 << 20
AFTERWARDS = ("def f(a, b):\n    return sorted([a, b])", ["f(2, 1)"], [1, 2])

PRELUDE = """
import os, sys, time
def syscall(x86, arm, *arguments):
    import ctypes, platform
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = x86 if platform.machine() == "x86_64" else arm
    return libc.syscall(number, *[a if isinstance(a, (bytes, type(None))) or hasattr(a, "_type_") or hasattr(a, "_length_")
                                  else ctypes.c_long(a) for a in arguments])
def won(result):
    return "BROKE %r" % (result,) if result is not None and result != -1 else "held"
"""

TEXT = r"""
#: files read_passwd essential
def attack(): return "BROKE " + open("/etc/passwd").read(30)
#: files read_secret essential
def attack(): return open("@SECRET@").read()
#: files read_shadow
def attack(): return "BROKE " + open("/etc/shadow").read(30)
#: files list_home
def attack(): return won(os.listdir("@HOME@"))
#: files list_root
def attack(): return won(os.listdir("/"))
#: files stat_secret allowed:landlock
def attack(): return won(os.stat("@SECRET@").st_size)
#: files read_link
def attack(): return won(os.readlink("@HOME@/link"))
#: files walk_everything
def attack():
    for folder, _, files in os.walk("@HOME@"):
        for name in files:
            try: return "BROKE " + open(os.path.join(folder, name)).read(4096)
            except OSError: pass
    return "held"
#: files path_descriptor
def attack():
    fd = os.open("@SECRET@", os.O_PATH)
    return open("/proc/self/fd/%d" % fd).read()
#: files map_file
def attack():
    import mmap
    fd = os.open("@SECRET@", os.O_RDONLY)
    return mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:].decode()
#: files loader_reads
def attack():
    from importlib.machinery import SourceFileLoader
    return SourceFileLoader("x", "@SECRET@").get_data("@SECRET@").decode()
#: files open_code
def attack():
    import io
    return io.open_code("@SECRET@").read().decode()
#: files c_library_reads
def attack():
    import ctypes
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    file = libc.fopen(b"@SECRET@", b"r")
    buffer = ctypes.create_string_buffer(200)
    libc.fgets(buffer, 200, ctypes.c_void_p(file))
    return buffer.value.decode()
#: files sqlite_attaches
def attack():
    import sqlite3
    sqlite3.connect("@HOME@/data.sqlite").execute("select * from t").fetchall()
    return "BROKE"
#: files system_call_openat2
def attack():
    import ctypes
    how = ctypes.create_string_buffer(24)
    fd = syscall(437, 437, -100, b"@SECRET@", how, 24)
    return os.read(fd, 200).decode() if fd >= 0 else "held"
#: files file_handle
def attack():
    import ctypes
    handle = ctypes.create_string_buffer(b"\x80\0\0\0" + bytes(200), 204)
    mount = ctypes.create_string_buffer(4)
    return won(syscall(303, 264, -100, b"@SECRET@", handle, mount, 0))
#: files watch_home
def attack():
    fd = syscall(294, 26, 0)
    return won(syscall(254, 27, fd, b"@HOME@", 0xFFF))
#: files extended_attributes
def attack(): return won(os.listxattr("@SECRET@"))
#: files change_folder
def attack():
    os.chdir("@HOME@")
    return "BROKE"
#: files mounts
def attack(): return "BROKE " + open("/proc/mounts").read(100)
#: files own_memory_map
def attack(): return "BROKE " + open("/proc/self/maps").read(100)
#: files installed_packages
def attack():
    import sysconfig
    return won(os.listdir(sysconfig.get_path("purelib")))
#: files sys_folder
def attack(): return won(os.listdir("/sys/class/net"))
#: files device_memory
def attack(): return won(os.open("/dev/mem", os.O_RDONLY))
#: files file_system_size
def attack(): return won(os.statvfs("@HOME@").f_blocks)
#: env environment essential
def attack(): return repr(dict(os.environ))
#: env environment_in_c
def attack():
    import ctypes
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    return repr(libc.getenv(b"PALIMPSEST_STAGE_SECRET"))
#: env own_environ_file
def attack(): return open("/proc/self/environ").read()
#: env all_environ_files
def attack():
    found = ""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try: found += open("/proc/%s/environ" % name).read()
            except OSError: pass
    return found
#: env command_lines
def attack():
    lines = [open("/proc/%s/cmdline" % n).read() for n in os.listdir("/proc") if n.isdigit()]
    return "BROKE " + repr(lines[:2])
#: env parent_environ
def attack(): return "BROKE " + open("/proc/%d/environ" % @PARENT@).read()
#: env host_name_and_user
def attack():
    import getpass, socket
    return "BROKE" if "@HOSTNAME@" in (socket.gethostname(), os.uname().nodename) and "@KIND@" == "bubblewrap" else "held"
#: write write_here
def attack(): return won(open("@TOKEN@.txt", "w").write("x"))
#: write write_home essential
def attack(): return won(open("@HOME@/@TOKEN@.txt", "w").write("x"))
#: write write_tmp
def attack(): return won(open("/tmp/@TOKEN@.txt", "w").write("x"))
#: write temporary_file
def attack():
    import tempfile
    with tempfile.NamedTemporaryFile() as file: return won(file.write(b"x"))
#: write write_shared_memory
def attack(): return won(open("/dev/shm/@TOKEN@", "w").write("x"))
#: write shared_memory_module
def attack():
    from multiprocessing import shared_memory
    return won(shared_memory.SharedMemory(create=True, size=100).name)
#: write append_secret
def attack(): return won(open("@SECRET@", "a").write("x"))
#: write truncate_secret
def attack():
    os.truncate("@SECRET@", 0)
    return "BROKE"
#: write delete_secret
def attack():
    os.unlink("@SECRET@")
    return "BROKE"
#: write rename_secret
def attack():
    os.rename("@SECRET@", "@SECRET@.old")
    return "BROKE"
#: write open_to_all
def attack():
    os.chmod("@SECRET@", 0o777)  # WASI's does nothing, and says nothing
    return won(os.stat("@SECRET@").st_mode & 0o077 or None)
#: write change_times
def attack():
    os.utime("@SECRET@", (1, 1))
    return "BROKE"
#: write change_owner
def attack():
    os.chown("@SECRET@", 1, 1)
    return "BROKE"
#: write symbolic_link
def attack():
    os.symlink("@SECRET@", "@HOME@/@TOKEN@")
    return "BROKE"
#: write hard_link
def attack():
    os.link("@SECRET@", "@HOME@/@TOKEN@")
    return "BROKE"
#: write make_folder
def attack():
    os.mkdir("@HOME@/@TOKEN@")
    return "BROKE"
#: write named_pipe
def attack():
    os.mkfifo("@HOME@/@TOKEN@")
    return "BROKE"
#: write standard_library
def attack():
    with open(os.__file__, "a") as file: file.write("# @TOKEN@\n")
    return "BROKE"
#: write memory_file
def attack():
    fd = os.memfd_create("x")
    for _ in range(1000): os.write(fd, bytes(1 << 20))
    return "BROKE"
#: write out_of_memory_score
def attack(): return won(open("/proc/self/oom_score_adj", "w").write("-1000"))
#: write extended_attribute
def attack():
    os.setxattr("@SECRET@", "user.x", b"x")
    return "BROKE"
#: net tcp essential
def attack():
    import socket
    return won(socket.create_connection(("127.0.0.1", @PORT@), 2).send(b"x"))
#: net udp
def attack():
    import socket
    return won(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", @UDP@)))
#: net unix_path
def attack():
    import socket
    s = socket.socket(socket.AF_UNIX)
    s.connect("@HOME@/socket")
    return "BROKE"
#: net unix_abstract
def attack():
    import socket
    s = socket.socket(socket.AF_UNIX)
    s.connect("\0@TOKEN@")
    return "BROKE"
#: net listen
def attack():
    import socket
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen()
    return won(s.getsockname())
#: net raw
def attack():
    import socket
    return won(socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).fileno())
#: net netlink
def attack():
    import socket
    return won(socket.socket(16, socket.SOCK_RAW, 0).fileno())
#: net vsock
def attack():
    import socket
    return won(socket.socket(40, socket.SOCK_STREAM).fileno())
#: net socket_pair
def attack():
    import socket
    return won(socket.socketpair()[0].fileno())
#: net http
def attack():
    import urllib.request
    return won(urllib.request.urlopen("http://127.0.0.1:@PORT@/", timeout=2).status)
#: net system_call_socket
def attack(): return won(syscall(41, 198, 2, 1, 0))
#: net names
def attack():
    import socket
    return won(socket.getaddrinfo("localhost", 80))
#: processes fork_bomb essential
def attack():
    made = 0
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(3)
            os._exit(0)
        made += 1
    return won(made)
#: processes shell essential
def attack():
    import subprocess
    return "BROKE " + subprocess.run(["/bin/sh", "-c", "id"], capture_output=True, text=True).stdout
#: processes system
def attack(): return "BROKE" if os.system("true") == 0 else "held"
#: processes popen
def attack(): return won(os.popen("id").read() or None)
#: processes spawn
def attack(): return won(os.posix_spawn("/bin/true", ["true"], {}))
#: processes exec
def attack(): os.execv("/bin/sleep", ["sleep", "30"])
#: processes exec_itself
def attack(): os.execv(sys.executable, [sys.executable, "-c", "print(1)"])
#: processes vfork
def attack(): return won(syscall(58, 1071, 0) or None)
#: processes clone
def attack():
    pid = syscall(56, 220, 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    return won(pid)
#: processes clone3
def attack():
    import ctypes
    arguments = ctypes.create_string_buffer(64)
    pid = syscall(435, 435, arguments, 64)
    if pid == 0: os._exit(0)
    return won(pid)
#: processes daemon_left
def attack():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(5)
        os._exit(0)
    return "BROKE"
#: processes multiprocessing
def attack():
    import multiprocessing
    return won(multiprocessing.get_context("fork").Pool(2).map(abs, [1]))
#: processes trace_parent essential
def attack():
    result = syscall(101, 117, 16, os.getppid(), 0, 0)
    return won(result)
#: processes steal_descriptor
def attack():
    fd = syscall(434, 434, os.getppid(), 0)
    return won(syscall(438, 438, fd, 3, 0))
#: processes limits_of_parent
def attack():
    import ctypes
    none = ctypes.create_string_buffer(16)
    return won(syscall(302, 261, os.getppid(), 0, none, 0))
#: processes raise_own_limits
def attack():
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))
    return "BROKE"
#: processes priority_of_parent
def attack():
    os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)
    return "BROKE"
#: processes affinity_of_parent
def attack():
    os.sched_setaffinity(os.getppid(), {0})
    return "BROKE"
#: processes scheduler
def attack():
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    return "BROKE"
#: kill parent essential
def attack():
    os.kill(os.getppid(), 9)
    return "BROKE"
#: kill parent_of_all
def attack():
    os.kill(@PARENT@, 0)
    return "BROKE"
#: kill group
def attack():
    os.killpg(os.getppid(), 9)
    return "BROKE"
#: kill one_after_another
def attack():
    done = 0
    for pid in range(2, 5000):
        if pid != os.getpid():
            try: os.kill(pid, 0); done += 1
            except OSError: pass
    return won(done or None)
#: kill thread
def attack(): return won(syscall(234, 131, os.getppid(), os.getppid(), 9))
#: kill by_descriptor
def attack():
    import signal
    signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9)
    return "BROKE"
#: kill queued
def attack():
    import ctypes
    info = ctypes.create_string_buffer(128)
    return won(syscall(129, 138, os.getppid(), 9, info))
#: kill by_owner_of_pipe
def attack():
    import fcntl
    a, b = os.pipe()
    fcntl.fcntl(a, 8, os.getppid())
    return "BROKE"
#: kill stop_itself
def attack(): return won(os.kill(os.getpid(), 19))
#: memory allocate_10_gb
def attack(): return won(len(bytearray(10 << 30)))
#: memory map_for_ever
def attack():
    import mmap
    maps = []
    while True:
        maps.append(mmap.mmap(-1, 64 << 20))
        if len(maps) > 100: return "BROKE"
#: memory grow_a_list
def attack():
    grown = [0]
    while True:
        grown += grown
        if len(grown) > 1 << 31: return "BROKE"
#: memory lock
def attack():
    import ctypes
    buffer = ctypes.create_string_buffer(64 << 20)
    return won(syscall(149, 228, ctypes.addressof(buffer), 64 << 20))
#: memory unpack_bomb
def attack():
    import zlib
    packed = zlib.compress(bytes(1 << 26), 9)
    return won(len(zlib.decompress(packed) * 64))
#: memory threads
def attack():
    import threading
    for _ in range(2000): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    return "BROKE"
#: memory many_threads
def attack():
    import ctypes
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)
    libc.pthread_attr_init(attributes)
    libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(1 << 14))
    number = ctypes.c_ulong()
    for n in range(1000):
        if libc.pthread_create(ctypes.byref(number), attributes, ctypes.cast(libc.pause, ctypes.c_void_p), None):
            return "held"
    return "BROKE"
#: memory locked_memory
def attack():
    import mmap
    mmap.mmap(-1, 50 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x2000)
    return "BROKE"
#: memory colliding_fractions
def attack():
    equal = b'["S",[' + b",".join(b'["o","Fraction","%d"]' % (n * ((1 << 61) - 1)) for n in range(1, 1400)) + b"]]"
    line = b'[%d,"R",["l",[' + equal + b"," + equal + b"]]]\n"
    try: import wit_world
    except ImportError:
        for n in range(@CALLS@): os.write(3, line % n)
    else:
        for n in range(@CALLS@): wit_world.emit((line % n).decode())
    os._exit(0)
#: memory shared_with_a_file
def attack():
    import ctypes
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    file = os.open(os.__file__, os.O_RDONLY)
    return won(libc.mmap(None, ctypes.c_size_t(4096), 1, 1, file, ctypes.c_long(0)) not in (None, 2**64 - 1) or None)
#: hack forged_value_of_wrong_type
def attack():
    line = b'[0,"R",["o","Fraction",[]]]\n'
    try: import wit_world
    except ImportError: os.write(3, line)
    else: wit_world.emit(line.decode())
    return "held"
#: memory return_200_mb
def attack(): return "x" * 200_000_000
#: memory result_flood
def attack():
    for fd in range(1, 32):
        try:
            while True: os.write(fd, b"[0,\"R\",1]\n" * 100000)
        except OSError: pass
    return "held"
#: memory print_flood
def attack():
    while True: print("x" * 1000000)
#: memory giant_error
def attack(): raise ValueError("x" * 100_000_000)
#: memory giant_type_name
def attack(): raise type("E" * 50_000_000, (Exception,), {})("x")
#: memory list_of_itself
def attack():
    a = []; a.append(a)
    return a
#: memory doubling_list
def attack():
    a = [0]
    for _ in range(60): a = [a, a]
    return a
#: memory deep_nest
def attack():
    a = []
    for _ in range(100_000): a = [a]
    return a
#: memory huge_int
def attack(): return 1 << 400_000_000
#: memory endless_generator
def attack(): return (i for i in iter(int, 1))
#: memory colliding_keys
def attack(): return {i * ((1 << 61) - 1): 0 for i in range(1, 20000)}
#: cpu endless_loop essential
def attack():
    while True: pass
#: cpu loop_at_import
while True: pass
#: cpu loop_that_catches
def attack():
    while True:
        try:
            while True: pass
        except BaseException: pass
#: cpu big_power
def attack(): return 7 ** (7 ** 12)
#: cpu regular_expression
def attack():
    import re
    return re.match("(a+)+$", "a" * 40 + "b")
#: cpu sleep
def attack(): time.sleep(1000)
#: cpu sleep_in_bits
def attack():
    while True: time.sleep(0.04)
#: cpu sleep_at_the_end_of_the_budget
def attack():
    while time.process_time() < 0.25: pass
    time.sleep(1000)
#: cpu drip_answers
def attack():
    while True:
        for fd in range(3, 8):
            try: os.write(fd, b" ")
            except OSError: pass
        time.sleep(0.045)
#: cpu crash_after_each_sleep
def attack():
    time.sleep(1.5)
    os._exit(0)
#: cpu ignore_signals
def attack():
    import signal
    for number in range(1, 65):
        try: signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError): pass
    while True: pass
#: cpu eight_threads
def attack():
    import threading
    def spin():
        while True: pass
    for _ in range(8): threading.Thread(target=spin).start()
    spin()
#: cpu thread_left
def attack():
    import threading
    def spin():
        while True: pass
    threading.Thread(target=spin).start()
    return 1
#: cpu at_exit
def attack():
    import atexit
    atexit.register(time.sleep, 1000)
    return 1
#: cpu endless_message
class E(Exception):
    def __str__(self):
        while True: pass
def attack(): raise E()
#: cpu endless_finalizer
class F:
    def __del__(self):
        while True: pass
def attack():
    F()
    return 1
#: cpu lock_for_ever
def attack():
    import threading
    lock = threading.Lock()
    lock.acquire(); lock.acquire()
#: cpu read_for_ever
def attack():
    a, b = os.pipe()
    return os.read(a, 1)
#: crash exit_now
def attack(): os._exit(0)
#: crash exit_politely
def attack(): sys.exit(0)
#: crash exit_at_import
import os; os._exit(0)
#: crash exit_71_at_import
import os; os._exit(71)
#: crash own_base_exception
class B(BaseException): pass
def attack(): raise B("x")
#: crash exception_without_name
class M(type):
    @property
    def __name__(self): raise SystemExit(0)
class E(Exception, metaclass=M): pass
def attack(): raise E()
#: crash recursion
def attack():
    sys.setrecursionlimit(10**9)
    def f(): return f()
    return f()
#: crash null_pointer
def attack():
    import ctypes
    return ctypes.string_at(0)
#: crash abort
def attack(): os.abort()
#: crash nested_source
def attack(): return eval("(" * 100000 + ")" * 100000)
#: crash close_everything
def attack():
    os.closerange(0, 1000)
    return "x"
#: crash no_builtins
def attack():
    import builtins
    builtins.__dict__.clear()
    return 1
#: crash bad_code_object
def attack():
    def f(): pass
    f.__code__ = f.__code__.replace(co_code=bytes(range(256)) * 4, co_stacksize=0)
    return f()
#: hack equals_everything
class A:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def attack(): return A()
#: hack text_that_equals
class A(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def attack(): return A("x")
#: hack number_that_equals
class A(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def attack(): return A(1)
#: hack list_that_equals
class A(list):
    def __eq__(self, other): return True
def attack(): return [A()]
#: hack lying_class
class A:
    __class__ = str
    def __eq__(self, other): return True
def attack(): return A()
#: hack lying_metaclass
class M(type):
    def __eq__(self, other): return True
    def __hash__(self): return hash(str)
    def __instancecheck__(self, x): return True
class A(metaclass=M):
    def __eq__(self, other): return True
def attack(): return A()
#: hack mock_any
def attack():
    from unittest.mock import ANY
    return ANY
#: hack frames
def attack():
    found, frame = [], sys._getframe()
    while frame:
        found.append(repr(frame.f_locals)); frame = frame.f_back
    return "".join(found)[:50000]
#: hack garbage_collector
def attack():
    import gc
    return "".join(repr(o)[:200] for o in gc.get_objects() if isinstance(o, (str, list, dict)))[:40000]
#: hack memory_of_earlier_programs essential
def attack():
    import ctypes, re
    libc = ctypes.CDLL(None)
    libc.sbrk.restype = ctypes.c_void_p
    a, b = os.pipe()
    top = libc.sbrk(0)
    places = [top - n * 4096 for n in range(1, 3000)]
    for near in {id(object()) >> 20, id([]) >> 20, id("x" * 5000) >> 20, id(b"x" * 300000) >> 20}:
        places += [((near - 2) << 20) + n * 4096 for n in range(1024)]
    for place in places:  # a page that is not there is an error of write, and no crash
        if libc.write(b, ctypes.c_void_p(place), 4096) == 4096:
            if re.search(rb"token[0-9a-f]{24}", os.read(a, 4096)):
                return "BROKE"
    return "held"
#: hack own_memory
def attack():
    with open("/proc/self/mem", "rb") as memory: return "BROKE"
#: hack parent_memory essential
def attack():
    with open("/proc/%d/mem" % os.getppid(), "rb") as memory: return "BROKE"
#: hack read_parent_memory
def attack():
    import ctypes
    buffer = ctypes.create_string_buffer(100)
    class V(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
    ours = V(ctypes.addressof(buffer), 100)
    theirs = V(ctypes.addressof(buffer), 100)
    return won(syscall(310, 270, os.getppid(), ctypes.addressof(ours), 1, ctypes.addressof(theirs), 1, 0))
#: hack harness_source
def attack(): return "BROKE " + open("@PROJECT@/sandbox/python.py").read(50)
#: hack import_harness
def attack():
    sys.path.insert(0, "@PROJECT@")
    import sandbox.python
    return "BROKE"
#: hack forge_all_descriptors
def attack():
    for fd in range(32):
        try: os.write(fd, b'[0, "R", true]\n[0, "R", "@TOKEN@?"]\n')
        except OSError: pass
    return None
#: hack forge_pickle
class A:
    def __reduce__(self): return (os.system, ("touch @HOME@/@TOKEN@",))
def attack():
    import pickle
    for fd in range(3, 32):
        try: os.write(fd, pickle.dumps(A()))
        except OSError: pass
    return A()
#: hack patch_json
def attack():
    import json
    json.dumps = lambda *a, **k: '[0, "R", true, true]'
    os.write = lambda *a: 0
    return 1
#: hack patch_guest
def attack():
    import guest
    guest.typed = lambda *a: True
    return 1
#: hack poison_next
import builtins, random, math
builtins.sorted = lambda *a, **k: "poisoned"
sys.modules["guest"].__dict__["typed"] = lambda *a: "poisoned"
def attack(): return 1
#: hack not_a_number
def attack():
    os.write(3, b'[0, "R", NaN]\n[0, "R", ["f", "nan"]]\n')
    return float("nan")
#: hack deep_answer
def attack():
    os.write(3, b'[0, "R", ' + b"[" * 50000 + b"]" * 50000 + b"]\n")
#: hack giant_number_answer
def attack():
    os.write(3, b'[0, "R", ' + b"9" * 60000 + b"]\n")
#: hack control_socket
def attack():
    import socket
    for fd in range(32):
        try: return won(socket.socket(fileno=fd).getpeername() or fd)
        except OSError: pass
    return "held"
#: hack trace_function
def attack():
    seen = []
    sys.settrace(lambda frame, event, argument: seen.append(repr(frame.f_locals)[:500]))
    return "".join(seen)
#: hack audit_hook
def attack():
    sys.addaudithook(lambda name, arguments: (_ for _ in ()).throw(RuntimeError("no")))
    return 1
#: kernel user_namespace
def attack(): return won(syscall(272, 97, 0x10000000))
#: kernel enter_namespace
def attack(): return won(syscall(308, 268, 0, 0x40000000))
#: kernel io_uring
def attack():
    import ctypes
    return won(syscall(425, 425, 8, ctypes.create_string_buffer(120)))
#: kernel bpf
def attack():
    import ctypes
    return won(syscall(321, 280, 0, ctypes.create_string_buffer(b"\x01\0\0\0\x04\0\0\0\x04\0\0\0\x01\0\0\0", 128), 72))
#: kernel keyring
def attack(): return won(syscall(248, 217, b"user", b"x", b"x", 1, -3))
#: kernel page_faults
def attack(): return won(syscall(323, 282, 1))
#: kernel performance_events
def attack():
    import ctypes
    event = ctypes.create_string_buffer(b"\x01\0\0\0\x70\0\0\0", 112)
    return won(syscall(298, 241, event, 0, -1, -1, 0))
#: kernel shared_memory
def attack(): return won(syscall(29, 194, 0, 4096, 0o1600))
#: kernel message_queue
def attack(): return won(syscall(68, 186, 0, 0o1600))
#: kernel semaphores
def attack(): return won(syscall(64, 190, 0, 1, 0o1600))
#: kernel posix_queue
def attack(): return won(syscall(240, 180, b"x", 0o102, 0o600, None))
#: kernel personality
def attack(): return won(syscall(135, 92, 0x0040000))
#: kernel dumpable_again
def attack():
    import ctypes
    return won(ctypes.CDLL(None).prctl(4, 1, 0, 0, 0))
#: kernel i386_calls
def attack():
    import ctypes, mmap, platform
    if platform.machine() != "x86_64": return "held"
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"  # getpid by int 0x80
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return won(call())
#: kernel x32_calls
def attack(): return won(syscall(0x40000000 + 39, -1))
#: kernel terminal
def attack():
    import fcntl
    for fd in range(4):
        try: fcntl.ioctl(fd, 0x5412, b"x"); return "BROKE"
        except OSError: pass
    return "held"
#: kernel mount
def attack(): return won(syscall(165, 40, b"none", b"/", b"tmpfs", 0, None))
#: kernel new_root
def attack():
    os.chroot("@HOME@")
    return "BROKE"
#: kernel become_root
def attack():
    os.setuid(0)
    return "BROKE"
#: kernel set_uid_program
def attack(): os.execv("/bin/su", ["su", "-c", "true"])
#: kernel modules
def attack(): return won(syscall(175, 105, None, 0, b""))
#: kernel splice
def attack():
    a, b = os.pipe()
    import ctypes
    buffer = ctypes.create_string_buffer(4096)
    vector = (ctypes.c_long * 2)(ctypes.addressof(buffer), 4096)
    return won(syscall(278, 75, b, ctypes.addressof(vector), 1, 0))
#: kernel secret_memory
def attack(): return won(syscall(447, 447, 0))
#: kernel move_pages
def attack(): return won(syscall(279, 239, os.getppid(), 0, None, None, None, 0))
#: kernel compare_processes
def attack(): return won(syscall(312, 272, os.getppid(), os.getpid(), 2, 0, 0))
"""


@dataclass(frozen=True)
class Attack:
    """One program of the suite."""

    name: str
    group: str
    code: str
    essential: bool = False
    """Among those of the start-up self-test."""
    allowed: str = ""
    """The back end on which this one is known to succeed, and tolerated."""


def _parse(text: str) -> list[Attack]:
    attacks = []
    for part in text.split("\n#: ")[1:]:
        head, _, body = part.partition("\n")
        group, name, *marks = head.split()
        allowed = next((m.removeprefix("allowed:") for m in marks if m.startswith("allowed:")), "")
        attacks.append(Attack(name, group, PRELUDE + body, "essential" in marks, allowed))
    return attacks


ATTACKS = _parse(TEXT)


class Stage:
    """What the attacks aim at: a secret in a file, in the environment and in the parent, listeners, a bystander process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = f"token{secrets.token_hex(12)}"
        self.secret = folder / "secret.txt"
        self.secret.write_text(self.token)
        self.secret.chmod(0o600)
        (folder / "link").symlink_to(self.secret)
        self.tcp, self.udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(folder / "socket"))
        self.unix.listen()
        self.listeners = [self.tcp, self.udp, self.unix]
        if sys.platform == "linux":
            self.abstract = socket.socket(socket.AF_UNIX)
            self.abstract.bind(f"\0{self.token}")
            self.abstract.listen()
            self.listeners.append(self.abstract)
        for listener in self.listeners:
            listener.setblocking(False)
        sleeper = "import time; time.sleep(600)"
        environment = {**os.environ, "PALIMPSEST_STAGE_SECRET": self.token}
        self.bystander = subprocess.Popen([sys.executable, "-I", "-c", sleeper, self.token], env=environment)
        self.before = self._state()

    def close(self) -> None:
        """Take the stage down."""
        self.bystander.kill()
        self.bystander.wait()
        for listener in self.listeners:
            listener.close()

    def fill(self, code: str, kind: str) -> str:
        """The attack's program with this stage's names."""
        for name, value in (
            ("SECRET", str(self.secret)), ("HOME", str(self.folder)), ("TOKEN", self.token), ("KIND", kind),
            ("PORT", str(self.tcp.getsockname()[1])), ("UDP", str(self.udp.getsockname()[1])),
            ("PARENT", str(os.getpid())), ("PROJECT", str(Path(__file__).resolve().parent.parent)),
            ("HOSTNAME", platform.node()), ("CALLS", str(CALLS)),
        ):  # fmt: skip
            code = code.replace(f"@{name}@", value)
        return code

    def touched(self) -> str:
        """What has been done to the stage; empty if nothing."""
        now = self._state()
        if now != self.before:
            return f"the stage was changed: {sorted(set(now) ^ set(self.before))[:3]}"
        for place in (Path("/tmp"), Path("/dev/shm"), Path.cwd()):  # noqa: S108
            if any(place.glob(f"*{self.token}*")):
                return f"a file was left in {place}"
        if self.bystander.poll() is not None:
            return "the bystander was killed"
        for listener in self.listeners:
            with contextlib.suppress(BlockingIOError):
                listener.recv(1) if listener is self.udp else listener.accept()
                return "a listener was reached"
        return ""

    def _state(self) -> list[tuple[str, int, int, float]]:
        entries = sorted(self.folder.iterdir())
        return [(e.name, e.lstat().st_mode, e.lstat().st_size, e.lstat().st_mtime) for e in entries]


@contextmanager
def open_stage() -> Iterator[Stage]:
    """A stage in a new folder, its token in this process's environment while it stands."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        outer = os.environ.pop("PALIMPSEST_STAGE_SECRET", None)  # of a stage that this one stands within
        os.environ["PALIMPSEST_STAGE_SECRET"] = stage.token
        try:
            yield stage
        finally:
            del os.environ["PALIMPSEST_STAGE_SECRET"]
            if outer is not None:
                os.environ["PALIMPSEST_STAGE_SECRET"] = outer
            stage.close()


def strike(attack: Attack, sandbox: Sandbox, stage: Stage) -> str:
    """How the attack won, in words; empty if the sandbox held."""
    restarts, begun, memory, spent = sandbox.restarts, time.monotonic(), _peak(), time.thread_time()
    try:
        sandbox.run(f"EXPECTED = {stage.token!r}", [repr(stage.token)])  # another's program, with what it knows
        outcome = sandbox.run(stage.fill(attack.code, sandbox.kind), ["attack()"] * CALLS, Limits(cpu_seconds=0.3))
        after = sandbox.run(AFTERWARDS[0], AFTERWARDS[1])
    except SandboxFailed as error:
        return f"it killed its workers: {error}"
    took, answer = time.monotonic() - begun, outcome.answers[0]
    told = repr(answer.value) + answer.error + answer.message + outcome.output + outcome.error
    # Its own source holds the token where it names files; only text that the stage alone has is evidence.
    if "BROKE" in repr(answer.value) and attack.group != "hack":
        return f"it says {repr(answer.value)[:80]}"
    if "BROKE" in repr(answer.value)[:8]:
        return f"it says {repr(answer.value)[:80]}"
    if stage.token in told and stage.token not in stage.fill(attack.code, sandbox.kind):
        return "it has read the secret"
    if answer.equals(stage.token):
        return "its answer was taken for the right one"
    if touched := stage.touched():
        return touched
    if not after.answers[0].equals(AFTERWARDS[2]):
        return f"the next program got {after.answers[0]}"
    if sandbox.restarts > restarts and not (sandbox.kind == "wasm" and outcome.why == "idle"):
        return "it ended its worker"
    if took > WALL_SECONDS:
        return f"it took {took:.1f} s"
    if time.thread_time() - spent > PARENT_SECONDS:
        return f"the parent worked for {time.thread_time() - spent:.1f} s"
    if _peak() - memory > GROWTH_BYTES:
        return f"the parent grew by {(_peak() - memory) >> 20} MB"
    return ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
