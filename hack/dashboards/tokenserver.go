// SPDX-License-Identifier: Apache-2.0

package main

// at selects the replicas that the reader chose.
const at = `job=~"$job",instance=~"$instance"`

// tokenServer shows requests, errors and durations of the token server, and what
// it could run out of.
func tokenServer() board {
	return board{
		title:       "token server",
		description: "Requests, errors and durations by endpoint and grant; what can run out; keys, certificate and the work beside requests.",
		choices: []choice{
			{"job", "Token server", `label_values(tokenserver_build_info, job)`},
			{"instance", "Replica", `label_values(tokenserver_build_info{job=~"$job"}, instance)`},
		},
		rows: []row{
			{"Now", []panel{
				number("Replicas", "Those that answer Prometheus.", count, `count(tokenserver_build_info{`+at+`}) or vector(0)`).under(1),
				number("Stale replicas", "They do not know whether what is in their memory is up to date.", count, `sum(tokenserver_feed_stale{`+at+`})`).from(1),
				number("Apps", "", count, `max(tokenserver_apps{`+at+`})`),
				number("The certificate ends in", "Nothing where TLS ends in front of the server.", seconds,
					`min(tokenserver_certificate_expiration_timestamp_seconds{`+at+`} - time())`).under(14 * 86400),
				number("The next key signs in", "The first of all algorithms to change.", seconds,
					`min((tokenserver_signing_key_rotation_timestamp_seconds{`+at+`} > 0) - time())`).under(-7200),
				number("Database", "", bytes, `max(tokenserver_database_size_bytes{`+at+`})`),
			}},
			{"Endpoints", []panel{
				graph("Requests", "", perSec, "{{route}}", rate("route", "tokenserver_http_request_duration_seconds_count", at)),
				graph("Errors of the server", "Part of the requests that were answered 5xx.", ratio, "{{route}}",
					part(rate("route", "tokenserver_http_request_duration_seconds_count", `code=~"5..",`+at),
						rate("route", "tokenserver_http_request_duration_seconds_count", at))),
				graph("Duration, p99", "", seconds, "{{route}}",
					quantile(0.99, "route", "tokenserver_http_request_duration_seconds_bucket", at)),
			}},
			{"Grants of the token endpoint", []panel{
				graph("Requests", "", perSec, "{{grant}}", rate("grant", "tokenserver_token_request_duration_seconds_count", at)),
				graph("Requests that failed or were refused", "Failed: the database or the server was to blame. Refused: the request.", perSec, "{{grant}} {{outcome}}",
					rate("grant, outcome", "tokenserver_token_request_duration_seconds_count", `outcome!="issued",`+at)),
				graph("Duration, p50 and p99", "", seconds, "{{grant}} p50",
					quantile(0.5, "grant", "tokenserver_token_request_duration_seconds_bucket", at),
					query{quantile(0.99, "grant", "tokenserver_token_request_duration_seconds_bucket", at), "{{grant}} p99"}),
			}},
			{"Saturation", []panel{
				graph("Requests in flight", "Above 500 is an alert.", count, "{{instance}}", `sum by (instance) (tokenserver_http_requests_in_flight{`+at+`})`),
				graph("Connections to the database in use", "Part of those that may be open.", ratio, "{{instance}} {{pool}}",
					`tokenserver_database_connections_in_use{`+at+`} / tokenserver_database_connections_limit{`+at+`}`),
				graph("Wait for connections", "Seconds that requests waited, in a second.", seconds, "{{instance}} {{pool}}",
					rate("instance, pool", "tokenserver_database_connection_wait_seconds_total", at)),
				graph("Password slots", "In use and waited for, of all. Above 16 that wait, passwords are refused as busy.", count, "in use",
					`sum(tokenserver_password_slots_in_use{`+at+`})`,
					query{`sum(tokenserver_password_slots_waiting{` + at + `})`, "waiting"}, query{`sum(tokenserver_password_slots{` + at + `})`, "all"}),
				graph("Log lines that are not written yet", "Above 1 MiB requests wait.", bytes, "{{instance}}",
					`sum by (instance) (tokenserver_log_queue_bytes{`+at+`})`),
				graph("Waits for the log, and lines lost", "", perSec, "waits", `sum(rate(tokenserver_log_waits_total{`+at+`}[$__rate_interval]))`,
					query{`sum(rate(tokenserver_log_lost_lines_total{` + at + `}[$__rate_interval]))`, "lost"}),
			}},
			{"Database", []panel{
				graph("Statements", "Also begin and end of transactions: the 10 most frequent.", perSec, "{{operation}}",
					top(10, rate("operation", "tokenserver_storage_duration_seconds_count", at))),
				graph("Duration of statements, p99", "The 10 slowest. begin write waits for the only writer of SQLite.", seconds, "{{operation}}",
					top(10, quantile(0.99, "operation", "tokenserver_storage_duration_seconds_bucket", at))),
				graph("Statements without an answer", "By reason.", perSec, "{{operation}} {{reason}}",
					rate("operation, reason", "tokenserver_storage_errors_total", at)),
				graph("Conflicts", "What the database undid for the sake of another transaction; it is done again.", perSec, "{{operation}}",
					rate("operation", "tokenserver_storage_conflicts_total", at)),
				graph("Size", "", bytes, "size", `max(tokenserver_database_size_bytes{`+at+`})`),
				graph("Rows removed in an hour", "They had expired.", count, "{{table}}",
					`sum by (table) (increase(tokenserver_garbage_collected_rows_total{`+at+`}[1h]))`),
			}},
			{"Memory of the replicas", []panel{
				graph("Feed lag", "How long ago all that is in memory was last known to be up to date.", seconds, "{{instance}}",
					`max by (instance) (tokenserver_feed_lag_seconds{`+at+`})`),
				graph("Stale", "1 while requests that need what is up to date are refused with 503.", count, "{{instance}}",
					`max by (instance) (tokenserver_feed_stale{`+at+`})`),
				graph("Apps", "Replicas differ for as long as their feed lags.", count, "{{instance}}", `max by (instance) (tokenserver_apps{`+at+`})`),
			}},
			{"Keys, certificate and files", []panel{
				graph("Age of the keys that sign", "", seconds, "{{algorithm}}", `max by (algorithm) (tokenserver_signing_key_age_seconds{`+at+`})`),
				graph("Keys in the JWK Set", "Those that sign, will sign, or signed what may still be valid.", count, "{{algorithm}}",
					`max by (algorithm) (tokenserver_signing_keys_published{`+at+`})`),
				graph("Files that could not be taken over", "1 while the earlier ones are in use.", count, "{{files}}",
					`max by (files) (tokenserver_config_reload_failed{`+at+`})`),
			}},
			{"Work beside requests", []panel{
				graph("Failures in an hour", "The log says why.", count, "{{doing}}",
					`sum by (doing) (increase(tokenserver_background_work_failures_total{`+at+`}[1h]))`),
				graph("Last success", "How long ago.", seconds, "{{doing}}",
					`time() - min by (doing) (tokenserver_background_work_last_success_timestamp_seconds{`+at+`})`),
				graph("Workload issuers that do not answer", "The log says which.", count, "{{instance}}",
					`max by (instance) (tokenserver_workload_issuers_unavailable{`+at+`})`),
			}},
			process(at),
		},
	}
}
