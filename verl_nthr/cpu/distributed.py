"""torch.distributed on the CPU: the backend string that verl builds, and a limit on waiting."""

from typing import Any

from verl_nthr.cpu.limits import timeout


def without_duplicates(backend: str) -> str:
    """The backend string with each ``device:backend`` pair named once: "cpu:gloo,cpu:gloo" becomes "cpu:gloo"."""
    return ",".join(dict.fromkeys(backend.split(",")))


def init_process_group(wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around ``torch.distributed.init_process_group`` (torch 2.13.0).

    verl 0.9.1 (``verl.utils.distributed``) asks for ``f"cpu:gloo,{device}:{backend}"``; where the device is the CPU
    itself, torch refuses the duplicate. verl passes no timeout, or ten hours: where none is given it is
    :func:`verl_nthr.cpu.limits.timeout`.
    """
    backend = kwargs.pop("backend", args[0] if args else None)
    if isinstance(backend, str) and "," in backend:
        backend = without_duplicates(backend)
    if len(args) < 3 and kwargs.get("timeout") is None:
        kwargs["timeout"] = timeout()
    return wrapped(backend, *args[1:], **kwargs)
