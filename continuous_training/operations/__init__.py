"""The logic of the commands status, history, rollback, trace and prune.

| module | content |
|---|---|
| workspace | registry, rollout lock and next command of a state directory |
| champion_history | which version was champion when, and to which version a rollback goes |
| serving_state, read_serving_state | which versions are served, and whether the registry agrees |
| lineage | where a version comes from: run, data, code, evaluation, archive |
| source_commit | the commit that contains the code of a version |
| drift_since_champion | how far the data of the latest run has moved from the champion's |
| formatting | times, sizes and intervals as text |
| rollback, rollback_plan, rollback_writes | the rollback: its procedure, its decision and its writes |
| archive_restore, settle | restore a lost archive; serve the champion at the end of a run |
| status, status_table | the status, and the tables that show it |
| history, history_events, history_plot | the champions over time, as a list and as a figure |
| trace | from a digest to the version, its code and its rows |
| prune, prune_selection | remove old archives and run folders, and select them |
"""
