// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhetherABudgetIsMet(t *testing.T) {
	for name, c := range map[string]struct {
		row  Row
		over bool
	}{
		"a rate that reaches it":          {Row{Value: 0.85, Goal: AtLeast(0.85)}, false},
		"a rate that does not":            {Row{Value: 0.84, Goal: AtLeast(0.85)}, true},
		"memory that stays in it":         {Row{Value: 25, Goal: AtMost(25)}, false},
		"memory that does not":            {Row{Value: 25.1, Goal: AtMost(25)}, true},
		"nothing where none is allowed":   {Row{Value: 0, Goal: AtMost(0)}, false},
		"something where none is allowed": {Row{Value: 0.1, Goal: AtMost(0)}, true},
		"no budget":                       {Row{Value: 99, Goal: Without(Lower)}, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.over, c.row.Over()) })
	}
}

func TestWhetherARowFell(t *testing.T) {
	for name, c := range map[string]struct {
		goal        Goal
		before, now float64
		fell        bool
	}{
		"a rate a tenth lower":            {Without(Higher), 1, 0.90, false},
		"a rate lower by more":            {Without(Higher), 1, 0.89, true},
		"a rate that rose":                {Without(Higher), 1, 5, false},
		"memory a tenth higher":           {AtMost(64), 10, 11, false},
		"memory higher by more":           {AtMost(64), 10, 11.2, true},
		"memory that shrank":              {AtMost(64), 10, 1, false},
		"none that stayed none":           {AtMost(0), 0, 0, false},
		"none that became some":           {AtMost(0), 0, 1, true},
		"a difference that is not shown":  {AtMost(0), 0, 0.004, false},
		"a number that was shown rounded": {Without(Lower), 1.23, 1.3549, false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.fell, Row{Value: c.now, Goal: c.goal}.Fell(c.before)) })
	}
}

var measured = []Row{
	{Benchmark: "Refresh", Name: "refresh on PostgreSQL", Value: 0.473, Goal: AtLeast(0.75), Note: "575/s to 1232/s"},
	{Benchmark: "Refresh", Name: "64 connections to one", Value: 5.29, Goal: Without(Higher)},
	{Benchmark: "Footprint", Name: "memory at rest", Value: 22.75, Unit: "MiB", Goal: AtMost(25)},
	{Benchmark: "Scale/1000", Name: "writes", Value: 0, Goal: AtMost(0)},
}

func TestATableHasAlignedColumnsAndBars(t *testing.T) {
	before := []Kept{{Benchmark: "Refresh", Name: "refresh on PostgreSQL", Value: 0.6, Commit: "abc"}, {Benchmark: "Footprint", Name: "memory at rest", Value: 23, Commit: "abc"}}
	require.Equal(t, strings.TrimPrefix(`
Refresh
  refresh on PostgreSQL      0.47  ██████████······|········    ≥ 0.75  over    FELL from 0.60 at abc; 575/s to 1232/s
  64 connections to one      5.29                                    –
Footprint
  memory at rest         22.8 MiB  ██████████████··|········  ≤ 25 MiB  within  before 23
Scale/1000
  writes                        0  ················|········       ≤ 0  within
`, "\n"), Table(measured, before))
}

func TestABarEnds(t *testing.T) {
	for name, c := range map[string]struct {
		row    Row
		filled int
	}{
		"at the mark":              {Row{Value: 25, Goal: AtMost(25)}, barMark},
		"in the middle before it":  {Row{Value: 12.5, Goal: AtMost(25)}, barMark / 2},
		"at the end, of ten times": {Row{Value: 250, Goal: AtMost(25)}, barWidth},
		"at the end, for nothing":  {Row{Value: 1, Goal: AtMost(0)}, barWidth},
		"before it began":          {Row{Value: -1, Goal: AtMost(25)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.filled, strings.Count(c.row.bar(), "█"))
			require.Equal(t, '|', []rune(c.row.bar())[barMark])
		})
	}
}

const document = `# Benchmarks

Text before.

<!-- measured: Refresh Footprint -->
<!-- end of measured -->

Text between, | with | bars |.

<!-- measured: Scale -->

| what | measured | budget | | by | at |
|---|---|---|---|---|---|
| writes | 7 (of 100 apps) | ≤ 0 | over | ` + "`Scale/100`" + ` | 0000000 |
| memory | 99.5 MiB | ≤ 150 MiB | within | ` + "`Scale/1000`" + ` | 0000000 |

<!-- end of measured -->

Text after.
`

func TestADocumentKeepsRows(t *testing.T) {
	kept, err := Keep(document, measured, "1234567")
	require.NoError(t, err)
	require.Equal(t, `# Benchmarks

Text before.

<!-- measured: Refresh Footprint -->

| what | measured | budget | | by | at |
|---|---|---|---|---|---|
| refresh on PostgreSQL | 0.47 (575/s to 1232/s) | ≥ 0.75 | over | `+"`Refresh`"+` | 1234567 |
| 64 connections to one | 5.29 | – |  | `+"`Refresh`"+` | 1234567 |
| memory at rest | 22.8 MiB | ≤ 25 MiB | within | `+"`Footprint`"+` | 1234567 |

<!-- end of measured -->

Text between, | with | bars |.

<!-- measured: Scale -->

| what | measured | budget | | by | at |
|---|---|---|---|---|---|
| writes | 7 (of 100 apps) | ≤ 0 | over | `+"`Scale/100`"+` | 0000000 |
| writes | 0 | ≤ 0 | within | `+"`Scale/1000`"+` | 1234567 |

<!-- end of measured -->

Text after.
`, kept)

	rows, err := Read(kept)
	require.NoError(t, err)
	require.Len(t, rows, 5)
	require.Equal(t, "Scale/100", rows[3].Benchmark)
	require.Equal(t, "writes", rows[3].Name)
	require.InDelta(t, 7, rows[3].Value, 0)
	require.Equal(t, "0000000", rows[3].Commit)

	t.Run("and finds them again", func(t *testing.T) {
		require.Empty(t, Fallen(measured, rows))
		worse := append([]Row{}, measured...)
		worse[0].Value = 0.4
		require.Equal(t, worse[:1], Fallen(worse, rows))
	})
	t.Run("and the same rows change nothing", func(t *testing.T) {
		again, err := Keep(kept, measured, "1234567")
		require.NoError(t, err)
		require.Equal(t, kept, again)
	})
	t.Run("one benchmark leaves the others", func(t *testing.T) {
		one, err := Keep(kept, []Row{{Benchmark: "Footprint", Name: "memory at rest", Value: 20, Unit: "MiB", Goal: AtMost(25)}}, "7654321")
		require.NoError(t, err)
		rows, err := Read(one)
		require.NoError(t, err)
		require.Len(t, rows, 5)
		require.Equal(t, "1234567", rows[0].Commit)
		require.Equal(t, "7654321", rows[2].Commit)
	})
}

func TestADocumentThatCannotKeepRows(t *testing.T) {
	for name, c := range map[string]struct {
		document string
		row      Row
		problem  string
	}{
		"no table for a benchmark": {document, Row{Benchmark: "Other", Name: "x"}, "the document has a table for 0 of 1 rows"},
		"a table without an end":   {"<!-- measured: A -->\n", Row{Benchmark: "A", Name: "x"}, "a table of the document has no end"},
		"a name that ends a cell":  {document, Row{Benchmark: "Refresh", Name: "a | b"}, `the row "a | b" has a character that ends a cell`},
		"a row without a number": {
			"<!-- measured: A -->\n| x | many | – | | `A` | 0 |\n<!-- end of measured -->\n", Row{Benchmark: "A", Name: "x"},
			"the row \"| x | many | – | | `A` | 0 |\" has no number",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Keep(c.document, []Row{c.row}, "0")
			require.EqualError(t, err, c.problem)
		})
	}
}

func TestABenchmarkSaysWhatItMeasures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	t.Setenv(EnvEvents, path)
	Progress(t, "pair %d", 1)
	Add(t, Row{Name: "x", Value: 0, Goal: AtMost(0)})
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	require.Len(t, lines, 2)
	require.JSONEq(t, `{"doing": "pair 1"}`, lines[0])
	var event Event
	require.NoError(t, json.Unmarshal([]byte(lines[1]), &event))
	zero := 0.0
	require.Equal(t, &Row{Benchmark: t.Name(), Name: "x", Goal: Goal{Lower, &zero}}, event.Row)
}
