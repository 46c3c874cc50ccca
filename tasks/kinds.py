"""The environments by kind of task: whoever has to tell a function from a page asks here."""

from tasks.backend import Backend
from tasks.colbench import TaskKind
from tasks.environment import Environment
from tasks.frontend import Frontend

ENVIRONMENTS: dict[TaskKind, Environment] = {"backend": Backend(), "frontend": Frontend()}
