"""Where quietgate keeps things. Everything lies under one root, so that it can run beside a real installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """All paths of the product below `root`."""

    root: Path = Path("/")

    @property
    def policy(self) -> Path:
        """The administrator's policy."""
        return self.root / "etc/quietgate/quietgate.toml"

    @property
    def drop_ins(self) -> Path:
        """More policy files, merged by name."""
        return self.root / "etc/quietgate/conf.d"

    @property
    def state(self) -> Path:
        """Bans and confirmed generations; survives a reboot."""
        return self.root / "var/lib/quietgate"

    @property
    def guard_state(self) -> Path:
        """What the guard may write of it; all else is root's."""
        return self.state / "guard"

    @property
    def store(self) -> Path:
        """The database of bans."""
        return self.guard_state / "quietgate.db"

    @property
    def key(self) -> Path:
        """What names of users that do not exist are hashed with."""
        return self.guard_state / "key"

    @property
    def generations(self) -> Path:
        """Confirmed generations, the newest last."""
        return self.state / "generations"

    @property
    def proposed(self) -> Path:
        """The policy as `init` wrote it."""
        return self.state / "proposed.toml"

    @property
    def machine_id(self) -> Path:
        """What tells this machine from its clones (machine-id(5))."""
        return self.root / "etc/machine-id"

    @property
    def run(self) -> Path:
        """Lock and switches; gone after a reboot."""
        return self.root / "run/quietgate"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the firewall."""
        return self.run / "lock"

    @property
    def guard_run(self) -> Path:
        """What the guard may write of it, besides the lock; all else is root's."""
        return self.run / "guard"

    @property
    def control(self) -> Path:
        """The guard's socket."""
        return self.guard_run / "control"

    def noted(self, service: str) -> Path:
        """What this service goes by, of the policy in force."""
        return self.run / service

    @property
    def resolver(self) -> Path:
        """The socket of the unit that asks resolvers."""
        return self.run / "resolver"

    @property
    def deliverer(self) -> Path:
        """The socket of the unit that carries messages."""
        return self.run / "deliverer"

    @property
    def guard_lock(self) -> Path:
        """Held by the guard: there is one."""
        return self.guard_run / "lock"

    @property
    def held_down(self) -> Path:
        """Exists after `down`, until the next `up` or boot."""
        return self.run / "down"
