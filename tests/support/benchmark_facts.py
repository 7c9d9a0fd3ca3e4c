"""What a benchmark's agent really is and does: `python benchmark_facts.py LIBRARY`, with the checkout on the path."""

from __future__ import annotations

import json
import sys
from typing import Any

from benchmarks.libraries import LIBRARIES, Setting
from benchmarks.workers import throughput

SETTING = Setting("Pendulum-v1", batch_size=8, n_envs=4, hidden=(32, 16), n_critics=3, replay_size=2_000)


def facts(name: str) -> dict[str, Any]:
    library = LIBRARIES[name](SETTING, {})
    batch_sizes = []
    program = throughput(library)
    model, buffer = library.model, library.model.replay_buffer
    steps = [program.timed["learn(), per step"](10)]
    if name == "slc_agents":
        stored, updates = len(buffer), model.n_updates
        batch_sizes = [model._learner.batch_size, len(library.sample().reward)]
    else:
        stored, updates = buffer.size() * buffer.n_envs, model._n_updates
        batch_sizes = [model.batch_size, len(library.sample().rewards)]
        before = model._n_updates
        steps += [program.timed[f"gradient step, {n} a call"](60) for n in (1, 50)]
        updates_alone = model._n_updates - before
        if updates_alone != sum(steps[1:]):
            raise RuntimeError(f"{updates_alone} gradient steps were done, {steps[1:]} were said")
    if name == "sbx":
        import jax

        actor, critics = (
            sum(leaf.size for leaf in jax.tree.leaves(state.params))
            for state in (model.policy.actor_state, model.policy.qf_state)
        )
    else:
        actor, critics = (
            sum(parameter.numel() for parameter in net.parameters())
            for net in (model.policy.actor, model.policy.critic)
        )
    return {
        "steps": steps[0],
        "updates": updates,
        "stored": stored,
        "batch sizes": batch_sizes,
        "same buffer without an agent": type(library.make_buffer()) is type(buffer),
        "actor": actor,
        "critics": critics,
        "measures": list(program.timed),
        "done": [measure(1) for measure in program.timed.values()],
    }


if __name__ == "__main__":
    print(json.dumps(facts(sys.argv[1])))
