"""Why a node refuses user namespaces, and what its administrator can do: read from /proc/sys."""

import os
import sys
from pathlib import Path
from typing import Final

_SYSCTL: Final = Path("/proc/sys")
_APPARMOR: Final = "kernel/apparmor_restrict_unprivileged_userns"
"""Ubuntu since 24.04: 1 refuses them to programs without an AppArmor profile that allows them."""
_CLONE: Final = "kernel/unprivileged_userns_clone"
"""Debian's kernel: 0 refuses them to all but root."""
_MOST: Final = "user/max_user_namespaces"
"""Every kernel since 4.9, and RHEL's switch."""


def text(sysctl: Path = _SYSCTL) -> str:
    """What to do for strong isolation on this node, as one phrase."""
    found = found_in(sysctl)
    if found:
        return "as root: " + "; and ".join(found)
    if _is_filtered():
        return (
            "no setting of this kernel refuses user namespaces, but a filter of calls is in force: "
            "let the container that this runs in make them"
        )
    return "no setting of this kernel refuses user namespaces: use a node or kernel with all of it"


def found_in(sysctl: Path = _SYSCTL) -> list[str]:
    """What root can do, for each setting that refuses user namespaces here."""
    found = []
    if _value(sysctl / _APPARMOR) == "1":
        found.append(
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile "
            f"with `userns,` for {os.path.realpath(sys.executable)}"
        )
    if _value(sysctl / _CLONE) == "0":
        found.append("`sysctl -w kernel.unprivileged_userns_clone=1`")
    if _value(sysctl / _MOST) == "0":
        found.append("`sysctl -w user.max_user_namespaces=10000`")
    return found


def _value(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _is_filtered() -> bool:
    lines = Path("/proc/self/status").read_text().splitlines()
    return any(line.split() == ["Seccomp:", "2"] for line in lines)
