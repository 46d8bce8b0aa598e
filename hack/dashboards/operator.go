// SPDX-License-Identifier: Apache-2.0

package main

// ofServers selects what is of the managers and token servers that the reader chose.
const ofServers = `job=~"$job",tokenserver=~"$tokenserver"`

// operator shows what the manager does and finds.
func operator() board {
	return board{
		title:       "operator",
		description: "State of the objects, what the manager does for them, and how the token servers and the API server answer it.",
		choices: []choice{
			{"job", "Manager", `label_values(controller_runtime_max_concurrent_reconciles{controller="connectedapp"}, job)`},
			{"tokenserver", "Token server", `label_values(connectedapp_management_call_duration_seconds_count{job=~"$job"}, tokenserver)`},
		},
		rows: []row{
			{"Now", []panel{
				number("Managers that lead", "One, or none for the seconds in which another takes over.", count,
					`count(connectedapp_drifted{job=~"$job"}) or vector(0)`).under(1),
				number("Apps", "ConnectedApps, whatever their state.", count, `sum(connectedapp_objects{kind="ConnectedApp",job=~"$job"}) or vector(0)`),
				number("Apps not Ready", "Those whose condition Ready is False or Unknown.", count,
					`sum(connectedapp_objects{kind="ConnectedApp",ready!="True",job=~"$job"}) or vector(0)`).from(1),
				number("Token servers not Ready", "", count,
					`sum(connectedapp_objects{kind="TokenServer",ready!="True",job=~"$job"}) or vector(0)`).from(1),
				number("Longest wait", "Of the ConnectedApps that wait to be worked on or to get through; 0 when none does.", seconds,
					`max(time() - connectedapp_oldest_pending_timestamp_seconds{`+ofServers+`}) or vector(0)`).from(900),
				number("Drifted and left so", "ConnectedApps that differ from their client where the policy is to report it.", count,
					`sum(connectedapp_drifted{job=~"$job"})`).from(1),
			}},
			{"Objects", []panel{
				states("Apps by state", "Status and reason of the condition Ready.",
					`sum by (ready, reason) (connectedapp_objects{kind="ConnectedApp",job=~"$job"})`),
				states("Token servers by state", "Status and reason of the condition Ready.",
					`sum by (ready, reason) (connectedapp_objects{kind="TokenServer",job=~"$job"})`),
				states("AccessTokens by state", "Status and reason of the condition Ready.",
					`sum by (ready, reason) (connectedapp_objects{kind="AccessToken",job=~"$job"})`),
				graph("Longest wait by token server", "Since when the ConnectedApp that waits longest has waited. Nothing where none waits.", seconds, "{{tokenserver}}",
					`time() - connectedapp_oldest_pending_timestamp_seconds{`+ofServers+`}`),
				graph("Clients without an app",
					"Left: they are to be deleted, and their ConnectedApps are gone. Orphaned: a ConnectedApp of this cluster made them and none has them.",
					count, "{{tokenserver}} left", `sum by (tokenserver) (connectedapp_tombstones{`+ofServers+`})`,
					query{`sum by (tokenserver) (connectedapp_orphaned_clients{` + ofServers + `})`, "{{tokenserver}} orphaned"}),
				graph("Drift in an hour", "Clients that somebody changed or deleted on their token server.", count, "{{tokenserver}} {{outcome}}",
					`sum by (tokenserver, outcome) (increase(connectedapp_drift_total{`+ofServers+`}[1h]))`),
			}},
			{"Work", []panel{
				graph("Actions", "What was done for ConnectedApps.", perSec, "{{action}}",
					rate("action", "connectedapp_actions_total", `outcome="done",`+ofServers)),
				graph("Actions that failed", "They are tried again.", perSec, "{{tokenserver}} {{action}}",
					rate("tokenserver, action", "connectedapp_actions_total", `outcome="failed",`+ofServers)),
				graph("Age of the oldest client secrets", "The 10 oldest in Secrets of apps.", seconds, "{{namespace}}/{{name}}",
					`topk(10, time() - connectedapp_client_secret_published_timestamp_seconds{job=~"$job"})`),
			}},
			{"Management API of the token servers", []panel{
				graph("Calls", "", perSec, "{{tokenserver}}",
					rate("tokenserver", "connectedapp_management_call_duration_seconds_count", ofServers)),
				graph("Calls without a good answer", "By reason, in the words of the conditions.", perSec, "{{tokenserver}} {{outcome}}",
					rate("tokenserver, outcome", "connectedapp_management_call_duration_seconds_count", `outcome!="ok",`+ofServers)),
				graph("Duration of calls, p50 and p99", "", seconds, "{{tokenserver}} p50",
					quantile(0.5, "tokenserver", "connectedapp_management_call_duration_seconds_bucket", ofServers),
					query{quantile(0.99, "tokenserver", "connectedapp_management_call_duration_seconds_bucket", ofServers), "{{tokenserver}} p99"}),
			}},
			{"Controllers", []panel{
				graph("Reconciles", "", perSec, "{{controller}} {{result}}",
					rate("controller, result", "controller_runtime_reconcile_total", `job=~"$job"`)),
				graph("Duration of reconciles, p99", "", seconds, "{{controller}}",
					quantile(0.99, "controller", "controller_runtime_reconcile_time_seconds_bucket", `job=~"$job"`)),
				graph("Objects in the queues", "", count, "{{name}}", `sum by (name) (workqueue_depth{job=~"$job"})`),
				graph("Wait in the queues, p99", "", seconds, "{{name}}",
					quantile(0.99, "name", "workqueue_queue_duration_seconds_bucket", `job=~"$job"`)),
				graph("Requests to the API server", "", perSec, "{{method}} {{code}}",
					rate("method, code", "rest_client_requests_total", `job=~"$job"`)),
				graph("Workers that are busy", "Of those that each controller has.", ratio, "{{controller}}",
					part(`sum by (controller) (controller_runtime_active_workers{job=~"$job"})`,
						`sum by (controller) (controller_runtime_max_concurrent_reconciles{job=~"$job"})`)),
			}},
			process(`job=~"$job"`),
		},
	}
}

// process is what every program of ours takes of its machine.
func process(selector string) row {
	return row{"Processes", []panel{
		graph("CPU", "Cores in use.", count, "{{instance}}", `sum by (instance) (rate(process_cpu_seconds_total{`+selector+`}[$__rate_interval]))`),
		graph("Memory", "Resident.", bytes, "{{instance}}", `sum by (instance) (process_resident_memory_bytes{`+selector+`})`),
		graph("Goroutines", "", count, "{{instance}}", `sum by (instance) (go_goroutines{`+selector+`})`),
	}}
}
