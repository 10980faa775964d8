"""What the verbs rollback, status, history, trace and prune are made of.

| module | holds |
|---|---|
| command | what their command lines have in common; one at a time in a state folder |
| line | which version was champion when, and which one stands behind the present one |
| served | what the server serves, and whether the registry says the same |
| origin | where a version comes from: run, data, code, judgement, archive |
| commit | the commit that holds a version's code |
| drift | how far the newest run's data has moved from the champion's |
| words | times, sizes and intervals as people read them |
| rollback_plan, rollback_writes | where a rollback goes, and what it writes |
| status_table | the status as tables |
| history_events, history_figure | the champion line as a list and as a figure |
| retention | what may go, and what never does |
"""
