// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"
	"io"
	"slices"

	"connectedapps.dev/operator/internal/plugin/lint"
)

// Lint judges manifests without a cluster. Errors among the findings end it with
// an error.
func (p *Plugin) Lint(ctx context.Context, files []lint.File, o lint.Options) error {
	o.Namespace, o.SystemNamespace = p.Namespace, p.system()
	report, err := lint.Check(ctx, files, o)
	if err != nil {
		return err
	}
	var names []string
	for _, f := range report.Findings {
		if f.Name != "" && !slices.Contains(names, nameOf(f.Kind, f.Name)) {
			names = append(names, nameOf(f.Kind, f.Name))
		}
	}
	err = p.write(answer{report, names, func(w io.Writer) {
		for _, f := range report.Findings {
			_, _ = fmt.Fprintln(w, p.finding(f))
		}
	}})
	if err != nil {
		return err
	}
	if o.Policy == nil {
		p.say("access rules were not judged: --policy takes the manifest of a TokenServer")
	}
	if report.Errors > 0 {
		return &Exit{Status: 1, Err: fmt.Errorf("%s and %s in %s", some(report.Errors, "error"), some(report.Warnings, "warning"), some(report.Objects, "object"))}
	}
	p.say("%s", fmt.Sprintf("%s in %s", some(report.Warnings, "warning"), some(report.Objects, "object")))
	return nil
}

// finding is one line, which begins as those of compilers do.
func (p *Plugin) finding(f lint.Finding) string {
	severity := string(f.Severity)
	if p.Color {
		severity = map[lint.Severity]string{lint.Error: "\x1b[31m", lint.Warning: "\x1b[33m"}[f.Severity] + severity + "\x1b[0m"
	}
	text := fmt.Sprintf("%s:%d: %s", line(f.File), f.Line, severity)
	if f.Kind != "" {
		text += ": " + line(f.Kind+" "+f.Name)
	}
	if f.Field != "" {
		text += ": " + line(f.Field)
	}
	return fmt.Sprintf("%s: %s [%s]", text, line(f.Message), f.Rule)
}

func some(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
