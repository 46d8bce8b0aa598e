// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

// print writes a difference for people.
func (d *Difference) print(w io.Writer, color, markdown bool) {
	if markdown {
		d.printMarkdown(w)
		return
	}
	paint := func(code, text string) string {
		if !color {
			return text
		}
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	verdicts := map[string]string{allowed: "32", refused: "31", unknown: "33"}
	for i, a := range d.ConnectedApps {
		if i > 0 {
			_, _ = fmt.Fprintln(w)
		}
		_, _ = fmt.Fprintf(w, "ConnectedApp %s: %s\n", a.title(), a.summary())
		_, _ = fmt.Fprintf(w, "  %s: %s\n", paint(verdicts[a.Verdict], a.Verdict), line(a.Why))
		for _, action := range a.Actions {
			_, _ = fmt.Fprintf(w, "  %s\n", line(action.Action))
			for _, c := range action.Changes {
				if c.Before == "" {
					_, _ = fmt.Fprintf(w, "    %s\n", paint("32", line("+ "+c.Field+": "+c.After)))
					continue
				}
				_, _ = fmt.Fprintf(w, "    %s → %s\n", paint("33", line("~ "+c.Field+": "+c.Before)), line(c.After))
			}
		}
		if len(a.Actions) > 0 {
			_, _ = fmt.Fprintf(w, "  %s\n", line(a.Secret))
		}
		for _, note := range a.Notes {
			_, _ = fmt.Fprintf(w, "  note: %s\n", line(note))
		}
	}
}

func (a *AppDifference) title() string {
	if a.ClientID == "" {
		return line(a.Namespace + "/" + a.Name)
	}
	return line(a.Namespace + "/" + a.Name + ", client " + a.ClientID)
}

func (a *AppDifference) summary() string {
	if len(a.Actions) == 0 {
		return "nothing changes on the token server"
	}
	return "changes on the token server"
}

// printMarkdown writes a table of the apps, and below it what changes of each.
func (d *Difference) printMarkdown(w io.Writer) {
	_, _ = fmt.Fprint(w, "| ConnectedApp | access rules | on the token server | client secret |\n|---|---|---|---|\n")
	for _, a := range d.ConnectedApps {
		actions := make([]string, len(a.Actions))
		for i, action := range a.Actions {
			actions[i] = action.Action
		}
		does := cmp.Or(strings.Join(actions, ", "), "nothing changes")
		_, _ = fmt.Fprintf(w, "| %s | %s | %s | %s |\n", plain(a.Namespace+"/"+a.Name), plain(a.Verdict), plain(does), plain(a.Secret))
	}
	for _, a := range d.ConnectedApps {
		_, _ = fmt.Fprintf(w, "\n<details><summary>%s</summary>\n\n%s: %s\n", plain(a.title()), plain(a.Verdict), plain(a.Why))
		for _, action := range a.Actions {
			_, _ = fmt.Fprintf(w, "\n%s\n", plain(action.Action))
			if len(action.Changes) > 0 {
				_, _ = fmt.Fprint(w, "\n| field | before | after |\n|---|---|---|\n")
			}
			for _, c := range action.Changes {
				_, _ = fmt.Fprintf(w, "| %s | %s | %s |\n", plain(c.Field), plain(c.Before), plain(c.After))
			}
		}
		for _, note := range a.Notes {
			_, _ = fmt.Fprintf(w, "\nNote: %s\n", plain(note))
		}
		_, _ = fmt.Fprint(w, "\n</details>\n")
	}
}

// plain is a text that Markdown, and HTML in it, take for nothing but text: no
// mention, link or column of somebody else's making. Mentions and addresses are
// looked for once the text is HTML, so that what begins them is followed by a space
// of no width.
func plain(text string) string {
	var b strings.Builder
	for _, r := range line(text) {
		switch {
		case r == '@' || r == '#':
			_, _ = fmt.Fprintf(&b, "&#%d;&#8203;", r)
		case strings.ContainsRune("<>&|*_`[]()\\~!\"'$:", r):
			_, _ = fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return strings.NewReplacer("www.", "www&#46;", "WWW.", "WWW&#46;").Replace(b.String())
}
