"""Run a command where it can do little harm: `python -I -S sandbox.py PLAN`.

A script of the standard library alone, which loads nothing of the course: Linux lets a process into
namespaces of its own only before it has threads. The plan is JSON, made by `isolation.py`. A closed
one gets a root folder in memory that holds what Python needs, read-only, and one folder to write
in; no network, no other process, no privilege. Then, closed or open: limits, and the command.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
from pathlib import Path

# From <sched.h>, <sys/mount.h>, <sys/prctl.h>: the mount, UTS, IPC, process and net spaces.
NEW_SPACES, NEW_USERS = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000, 0x10000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND = 1, 2, 4, 8, 32, 4096
RECURSIVE, PRIVATE, RELATIVE_ATIME, DETACH = 1 << 14, 1 << 18, 1 << 21, 2
DIE_WITH_PARENT, DROP_CAPABILITY, NO_NEW_PRIVILEGES = 1, 24, 38


def libc(name: str, *args: object) -> None:
    """Call a function of the C library; OSError where it fails."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f'{name}: {os.strerror(error)}')


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = '') -> None:
    """mount(2)."""
    parts = [part if part is None else part.encode() for part in (source, target, kind)]
    libc('mount', *parts, ctypes.c_ulong(flags), data.encode() or None)


def follow(child: int) -> None:
    """Wait for a child, and end as it has ended."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def die_with_parent() -> None:
    """End when the parent ends. To be said again after each change of privileges."""
    libc('prctl', DIE_WITH_PARENT, int(signal.SIGKILL), 0, 0, 0)


def descend() -> None:
    """Go on in a child, which dies with this process."""
    if child := os.fork():
        follow(child)
    die_with_parent()


def new_spaces() -> None:
    """Go on as the first process of a new machine: no network, no other process, own mounts."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        libc('unshare', NEW_SPACES)
    else:
        libc('unshare', NEW_SPACES | NEW_USERS)
        Path('/proc/self/setgroups').write_text('deny')
        Path('/proc/self/uid_map').write_text(f'{uid} {uid} 1')
        Path('/proc/self/gid_map').write_text(f'{gid} {gid} 1')
    die_with_parent()
    descend()
    mount('none', '/', None, RECURSIVE | PRIVATE)


def show(root: str, path: str) -> None:
    """Let a file or folder be seen under the new root, read-only; a link stays a link."""
    target = root + path
    if os.path.lexists(target):
        return  # within a folder that is shown already
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        return os.symlink(os.readlink(path), target)
    if os.path.isdir(path):
        os.mkdir(target)
    else:
        Path(target).touch()
    mount(path, target, None, BIND | RECURSIVE)
    mounted = [line.split()[4] for line in Path('/proc/self/mountinfo').read_text().splitlines()]
    for point in mounted:
        point = point.encode().decode('unicode_escape')  # a space is \040
        if point == target or point.startswith(target + '/'):
            has = os.statvfs(point).f_flag
            keep = has & (NO_SUID | NO_DEV | NO_EXEC | 1024 | 2048)
            keep |= RELATIVE_ATIME if has & 4096 else 0
            keep |= 0 if path.startswith('/dev/') else NO_DEV
            mount(None, point, None, BIND | REMOUNT | READ_ONLY | NO_SUID | keep)


def hide(root: str, path: str) -> None:
    """Put nothing in the place of a file or folder, where the new root shows it at all."""
    if os.path.isdir(root + path):
        mount('tmpfs', root + path, 'tmpfs', READ_ONLY | NO_SUID | NO_DEV)
    elif os.path.exists(root + path):
        mount('/dev/null', root + path, None, BIND)


def furnish(root: str, plan: dict) -> None:
    """Build the new root: what is shown, what is hidden, the folder to work in, and /proc."""
    quiet = NO_SUID | NO_DEV
    mount('tmpfs', root, 'tmpfs', quiet, 'size=16m,mode=755')
    home = root + plan['home']
    os.mkdir(home)
    mount('tmpfs', home, 'tmpfs', quiet, f'size={plan["disk"]},nr_inodes=20000,mode=755')
    for name in ('tmp', 'dev/shm'):
        os.makedirs(f'{home}/.{name}')
        os.makedirs(f'{root}/{name}', exist_ok=True)
        mount(f'{home}/.{name}', f'{root}/{name}', None, BIND)
    for source, name in plan['copy'].items():
        shutil.copy(source, f'{home}/{name}')
    for path in plan['show']:
        show(root, path)
    for path in plan['hide']:
        if any(path == shown or path.startswith(shown + '/') for shown in plan['show']):
            hide(root, path)
    os.mkdir(f'{root}/proc')
    try:
        mount('proc', f'{root}/proc', 'proc', quiet | NO_EXEC)
    except OSError:
        return  # within some containers; Python and PyTorch do without
    if os.getuid() != 0:  # then the number is of this user space alone
        Path(f'{root}/proc/sys/user/max_user_namespaces').write_text('0')
    mount(None, f'{root}/proc', None, BIND | REMOUNT | READ_ONLY | quiet | NO_EXEC)


def nobody(number: int, home: str) -> None:
    """Root becomes a user whom nobody is: to the number of root's processes there is no limit."""
    for uid in (2**30 + number, 10_000 + number % 50_000):
        try:
            for path, _, files in os.walk(home):
                for name in ('.', *files):
                    os.chown(f'{path}/{name}', uid, uid)
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            return os.setresuid(uid, uid, uid)
        except OSError:
            continue  # a container's root has few users; its privileges go all the same


def enter(root: str, plan: dict) -> None:
    """Make the new root the only one, and give up the privileges that it took."""
    os.chdir(root)
    libc('pivot_root', b'.', b'.')
    libc('umount2', b'.', DETACH)
    os.chdir(plan['home'])
    mount(None, '/', None, BIND | REMOUNT | READ_ONLY | NO_SUID | NO_DEV)
    for capability in range(64):
        try:
            libc('prctl', DROP_CAPABILITY, capability, 0, 0, 0)
        except OSError:
            break  # this kernel knows no more
    libc('prctl', NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if os.getuid() == 0:
        nobody(plan['number'], plan['home'])
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    libc('capset', header, none)
    die_with_parent()


def limit(limits: dict[str, int]) -> None:
    """Set limits, named as in `resource`; those that this system does not know are left out."""
    import resource

    for name, most in limits.items():
        kind = getattr(resource, f'RLIMIT_{name}', None)
        if kind is None:
            continue
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, hard))
            if name == 'NPROC' and not may_fork():  # all that this user runs counts here
                resource.setrlimit(kind, (hard, hard))
            else:
                resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):
            continue  # macOS refuses some; the grader watches


def may_fork() -> bool:
    """Whether a process may still be started."""
    try:
        child = os.fork()
    except OSError:
        return False
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def main() -> None:
    """Follow the plan."""
    plan = json.loads(sys.argv[1])
    os.umask(0o022)
    if plan['closed']:
        new_spaces()
        furnish(plan['root'], plan)
        enter(plan['root'], plan)
        descend()  # the first process stays behind and takes up orphans
    else:
        os.chdir(plan['home'])
    limit(plan['limits'])
    os.execv(plan['command'][0], plan['command'])


if __name__ == '__main__':
    main()
