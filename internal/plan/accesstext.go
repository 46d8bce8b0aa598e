// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"connectedapps.dev/operator/api/v1alpha1"
)

// Message says by which rule a client is allowed, or what is missing, what there
// is instead, and what to do. It has at most 1024 bytes.
func (v Verdict) Message() string {
	switch {
	case v.Allowed:
		return fmt.Sprintf("access rule %s allows the app", v.Rule)
	case v.Rule == "":
		return v.none
	}
	return fmt.Sprintf("no access rule of the TokenServer allows all of the app; the nearest, %s, does not allow %s; "+
		"ask for less in the spec, or ask the platform team to add it to the rule", v.Rule, v.missing())
}

// missing joins what fits into a message, at least the first.
func (v Verdict) missing() string {
	const most = 600
	text := ""
	for i, m := range v.Missing {
		if i > 0 && len(text)+len(m) > most {
			return fmt.Sprintf("%s, and %d more", text, len(v.Missing)-i)
		}
		if i > 0 {
			text += ", "
		}
		text += m
	}
	return text
}

// OrphanMessage says by which rule a client may outlive its object, or what
// there is instead, and what to do.
func (v Verdict) OrphanMessage() string {
	switch {
	case v.OrphanAllowed:
		return fmt.Sprintf("access rule %s allows deletionPolicy Orphan", v.Rule)
	case v.Rule == "":
		return v.none + "; without a rule there is no deletionPolicy Orphan, and the client is deleted with its ConnectedApp"
	}
	return fmt.Sprintf("access rule %s does not allow deletionPolicy Orphan, only Delete, and the client is deleted with its ConnectedApp; "+
		"set deletionPolicy Delete, or ask the platform team to add Orphan to deletionPolicies of the rule", v.Rule)
}

// noRule says that no rule is for a namespace, in case it is so.
func noRule(namespace Namespace, rules []v1alpha1.AccessRule) string {
	if len(rules) == 0 {
		return fmt.Sprintf("the TokenServer has no access rules, so that no app is allowed; ask the platform team for one that selects %s", namespace)
	}
	return fmt.Sprintf("no access rule of the TokenServer selects %s by its labels; ask the platform team for such a rule or label", namespace)
}

// lack notes that the rule does not allow items of a kind, for reasons: what it
// allows instead.
func (v *Verdict) lack(kind string, items []string, reason string) {
	if len(items) > 1 {
		kind += "s"
	}
	v.lacks += len(items)
	v.Missing = append(v.Missing, fmt.Sprintf("%s %s (%s)", kind, few(items), reason))
}

// allows says what a rule has instead.
func allows(rule string, list []string) string {
	if len(list) == 0 {
		return fmt.Sprintf("rule %s allows none", rule)
	}
	return fmt.Sprintf("rule %s allows %s", rule, few(list))
}

func (v *Verdict) lackFlag(field string) {
	v.lacks++
	v.Missing = append(v.Missing, fmt.Sprintf("%s (rule %s does not allow it)", field, v.Rule))
}

// AccessScopes are the scopes of a rule in words.
func AccessScopes(list []v1alpha1.AccessScope) []string {
	texts := make([]string, len(list))
	for i, a := range list {
		texts[i] = a.Scope
		if len(a.OrganizationIDs) > 0 {
			texts[i] += " in organization " + or(names(a.OrganizationIDs))
		}
		if len(a.EnvironmentIDs) > 0 {
			texts[i] += " in environment " + or(names(a.EnvironmentIDs))
		}
	}
	return texts
}

// few lists items in a message; or lists alternatives.
func few(list []string) string { return joined(list, ", ") }

func or(list []string) string { return joined(list, " or ") }

// joined shows at most four items.
func joined(list []string, between string) string {
	const most = 4
	shown := make([]string, min(len(list), most))
	for i := range shown {
		shown[i] = cut(list[i])
	}
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, between), len(list)-most)
	}
	return strings.Join(shown, between)
}

// cut shortens an item of a message to at most 80 bytes.
func cut(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}
