"""The command `slc-agents`: one file a command, and what they share.

- `main`, `flags`, `formatting`, `exit_codes`: the parser, options and how things are said; for every command.
- `train`, with `run_folder`, `run_log` and `launch`: a run's folder, its log, and who worked on it.
- `train_seeds`, with `multi_seed` (the folder), `seed_watch` (what is shown), `processes` and `child`: several seeds.
- `evaluate`, `enjoy`, `export`, with `saved_agent`: a saved agent, and its environment.
- `robustness`, `stability`: the command lines of the evaluations of these names (`slc_agents.evaluation`).
- `plot`, with `curves`: logs as figures.
- `report`, with `report_data` (what is read), `report_figures`, `report_episode`, `report_page` and `html`: a page.
- `tune`, `zoo`: the command lines of the packages of these names (`slc_agents.tuning`, `slc_agents.zoo`).
"""
