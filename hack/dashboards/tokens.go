// SPDX-License-Identifier: Apache-2.0

package main

// tokens shows who gets tokens, and how long the delivered ones last.
func tokens() board {
	return board{
		title:       "tokens",
		description: "Tokens from their issue to the files and Secrets that applications read.",
		choices: []choice{
			{"namespace", "Namespace",
				`label_values({__name__=~"connectedapp_token_expiration_timestamp_seconds|connectedapps_refresher_token_expiration_timestamp_seconds"}, namespace)`},
			{"grant", "Grant", `label_values(tokenserver_token_request_duration_seconds_count, grant)`},
		},
		rows: []row{
			{"Now", []panel{
				number("Tokens in Secrets", "Of AccessTokens.", count,
					`count(connectedapp_token_expiration_timestamp_seconds{namespace=~"$namespace"}) or vector(0)`),
				number("First of them to end", "Each is replaced before.", seconds,
					`min(connectedapp_token_expiration_timestamp_seconds{namespace=~"$namespace"} - time())`).under(600),
				number("AccessTokens not Ready", "In all namespaces.", count,
					`sum(connectedapp_objects{kind="AccessToken",ready!="True"}) or vector(0)`).from(1),
				number("Tokens in Pods", "Of refreshers, in files or Secrets.", count,
					`count(connectedapps_refresher_token_expiration_timestamp_seconds{namespace=~"$namespace"} > 0) or vector(0)`),
				number("First of them to end", "Each is replaced before.", seconds,
					`min((connectedapps_refresher_token_expiration_timestamp_seconds{namespace=~"$namespace"} > 0) - time())`).under(120),
				number("Pods without a token", "Their refresher has got none yet.", count,
					`count(connectedapps_refresher_token_expiration_timestamp_seconds{namespace=~"$namespace"} == 0) or vector(0)`).from(1),
			}},
			{"AccessTokens: tokens in Secrets", []panel{
				graph("Remaining life, the 20 shortest",
					"It saws: a token is replaced before its end. A line that reaches 0 is a token that nobody could replace.", seconds, "{{namespace}}/{{name}}",
					`bottomk(20, connectedapp_token_expiration_timestamp_seconds{namespace=~"$namespace"} - time())`),
				graph("Refreshes in an hour", "Tokens that were replaced in their Secrets.", count, "{{namespace}}",
					`sum by (namespace) (changes(connectedapp_token_expiration_timestamp_seconds{namespace=~"$namespace"}[1h]))`),
				states("By state", "Status and reason of the condition Ready, in all namespaces.",
					`sum by (ready, reason) (connectedapp_objects{kind="AccessToken"})`),
			}},
			{"Refreshers: tokens in Pods", []panel{
				graph("Remaining life, the 20 shortest", "A refresher without a token is not shown.", seconds, "{{namespace}}/{{pod}} {{token}}",
					`bottomk(20, (connectedapps_refresher_token_expiration_timestamp_seconds{namespace=~"$namespace"} > 0) - time())`),
				graph("Refreshes", "", perSec, "{{namespace}}",
					rate("namespace", "connectedapps_refresher_refreshes_total", `namespace=~"$namespace"`)),
				graph("Failures", "Attempts that failed, by reason; each is repeated.", perSec, "{{namespace}} {{reason}}",
					rate("namespace, reason", "connectedapps_refresher_failures_total", `namespace=~"$namespace"`)),
			}},
			{"Issue", []panel{
				graph("Tokens issued", "login is the sign-in for programs.", perSec, "{{grant}}",
					rate("grant", "tokenserver_tokens_issued_total", `grant=~"$grant|login"`)),
				graph("Requests refused", "By error code.", perSec, "{{grant}} {{code}}",
					rate("grant, code", "tokenserver_tokens_refused_total", `grant=~"$grant"`)),
				graph("Requests that failed", "The database or the server was to blame.", perSec, "{{grant}}",
					rate("grant", "tokenserver_token_request_duration_seconds_count", `outcome="failed",grant=~"$grant"`)),
				graph("Passwords that were not accepted", "On any way in.", perSec, "{{reason}}",
					`sum by (reason) (rate(tokenserver_sign_ins_failed_total[$__rate_interval]))`),
				graph("Tokens and authorizations revoked", "As many as a replica remembers: until the tokens would have ended.", count, "revoked",
					`max(tokenserver_revocations_active)`),
				graph("Assertions without exp that were accepted", "Where the settings of an app allow it.", perSec, "accepted",
					`sum(rate(tokenserver_assertions_without_expiry_total[$__rate_interval]))`),
			}},
		},
	}
}
