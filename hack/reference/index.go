// SPDX-License-Identifier: Apache-2.0

package main

// index is the page that names the others.
func index() string {
	return generated + `# Reference

What there is to look up, made from the source by ` + "`make manifests`" + ` and compared by ` + "`make verify`" + `. How to work with it is in
[the pages of the kinds](../spec/v1alpha1) and the [other documents](../../README.md#read-on).

` + table(
		[]string{"page", "about"},
		[]string{"[ConnectedApp](connectedapp.md)", "every field of an OAuth client: type, what it means when omitted, what it may hold"},
		[]string{"[AccessToken](accesstoken.md)", "the same of a token that is kept fresh in a Secret"},
		[]string{"[TokenServer](tokenserver.md)", "the same of a token server, and of the rules who may use it for what"},
		[]string{"[Conditions and reasons](conditions.md)", "what each means and what to do, those of Events as well"},
		[]string{"[Annotations, labels and finalizers](annotations.md)", "what each says, on what, and who sets it"},
		[]string{"[Flags](flags.md)", "flags and variables of the programs, commands of the token server"},
		[]string{"[The commands of the plugin](kubectl-connectedapp.md)", "commands and flags of `kubectl connectedapp`, with examples"},
		[]string{"[Metrics of the operator](../metrics-operator.md)", "name, type, labels and meaning"},
		[]string{"[Metrics of the token server](../metrics-tokenserver.md)", "the same"},
		[]string{"[Metrics of the refresher](../metrics-refresher.md)", "the same"},
	)
}
