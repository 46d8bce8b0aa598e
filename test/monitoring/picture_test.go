// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var pictures = flag.String("pictures", "", "`folder` for pictures of the dashboards")

// TestPictures draws the dashboards as they show two minutes, in which the database
// answers nobody for a while.
func TestPictures(t *testing.T) {
	if *pictures == "" {
		t.Skip("make pictures draws them")
	}
	p, database := startInstallation(t)
	time.Sleep(60 * time.Second) // what is drawn takes its time
	require.NoError(t, database.Freeze())
	time.Sleep(10 * time.Second)
	require.NoError(t, database.Thaw())
	time.Sleep(50 * time.Second)
	for _, d := range dashboards(t) {
		picture := draw(t, p, d)
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, "dashboard-"+d.name+".svg"), []byte(picture), 0o644))
	}
}

// requirePicture holds a picture of a dashboard to its panels.
func requirePicture(t *testing.T, d dashboard, picture string) {
	t.Helper()
	var texts strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if text, ok := token.(xml.CharData); ok {
			texts.Write(text)
		}
	}
	for _, panel := range d.Panels {
		require.Contains(t, texts.String(), panel.Title)
	}
	require.Contains(t, picture, "<path")
}

// Measures of a picture, in pixels: Grafana's grid has 24 columns.
const (
	column, line, head = 50, 22, 44
	gap                = 8
	points             = 80
)

const style = `
    .bg { fill: #f4f5f7 } .panel { fill: #ffffff; stroke: #d8dbe2 } .grid { stroke: #e5e7ec } path { fill: none; stroke-width: 1.5 }
    text { fill: #24292f; font-size: 12px } .title { font-weight: 600; font-size: 13px } .head { font-weight: 600; font-size: 17px }
    .small { fill: #57606a; font-size: 10.5px } .number { font-size: 26px; font-weight: 600; fill: #1a7f37 } .bad { fill: #cf222e }
    @media (prefers-color-scheme: dark) {
      .bg { fill: #111217 } .panel { fill: #181b1f; stroke: #2c3235 } .grid { stroke: #2c3235 }
      text { fill: #d8d9da } .small { fill: #9aa0a6 } .number { fill: #56d364 } .bad { fill: #ff7b72 }
    }
`

var colours = []string{"#3274d9", "#37872d", "#e0752d", "#c4162a", "#8f3bb8", "#0f9aa8", "#b58a00", "#d6428e"}

// canvas collects the elements of a picture.
type canvas struct{ strings.Builder }

func (c *canvas) add(format string, args ...any) { fmt.Fprintf(&c.Builder, format+"\n", args...) }

func (c *canvas) text(x, y float64, class, anchor, text string) {
	c.add(`  <text x="%.0f" y="%.0f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, html.EscapeString(text))
}

// draw a dashboard with its data since the start.
func draw(t *testing.T, p *prometheus, d dashboard) string {
	t.Helper()
	bottom := 0
	for _, panel := range d.Panels {
		bottom = max(bottom, panel.GridPos.Y+panel.GridPos.H)
	}
	c := &canvas{}
	width, height := 24*column+gap, bottom*line+head+gap
	c.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-labelledby="t" font-family="system-ui, sans-serif">`, width, height)
	c.add("  <title id=%q>The dashboard %s</title>\n  <style>%s  </style>", "t", html.EscapeString(d.Title), style)
	c.add(`  <rect class="bg" width="%d" height="%d"/>`, width, height)
	c.text(gap, 28, "head", "start", d.Title)
	f := frame{canvas: c, began: p.began, ended: time.Now()}
	known := d.choices(t, require.New(t), p)
	for _, panel := range d.Panels {
		f.place(panel)
		if panel.Type == "row" {
			c.text(f.x, f.y+16, "title", "start", "⌄ "+panel.Title)
			continue
		}
		var curves []curve
		for _, q := range panel.Targets {
			found, err := p.since(t, p.began, f.ended.Sub(f.began)/points, known.Replace(q.Expr))
			require.NoError(t, err)
			for _, s := range found {
				s.Values = slices.DeleteFunc(s.Values, func(s sample) bool { return math.IsNaN(s.value) || math.IsInf(s.value, 0) })
				if len(s.Values) > 0 {
					curves = append(curves, curve{legend(q.Legend, s.Metric), s.Values})
				}
			}
		}
		f.panel(panel, curves)
	}
	c.add("</svg>")
	return c.String()
}

// curve is a series with its name.
type curve struct {
	name   string
	values []sample
}

var label = regexp.MustCompile(`\{\{(\w+)\}\}`)

func legend(format string, metric map[string]string) string {
	return strings.TrimSpace(label.ReplaceAllStringFunc(format, func(name string) string { return metric[strings.Trim(name, "{}")] }))
}

// frame is where a panel is drawn.
type frame struct {
	*canvas
	began, ended  time.Time
	x, y          float64
	width, height float64
}

func (f *frame) place(p panel) {
	f.x, f.y = float64(p.GridPos.X*column+gap), float64(p.GridPos.Y*line+head)
	f.width, f.height = float64(p.GridPos.W*column-gap), float64(p.GridPos.H*line-gap)
}

func (f *frame) panel(p panel, curves []curve) {
	f.add(`  <rect class="panel" x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="4"/>`, f.x, f.y, f.width, f.height)
	f.text(f.x+10, f.y+18, "title", "start", p.Title)
	if p.Type == "stat" {
		f.number(p, curves)
		return
	}
	if p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal" {
		stack(curves)
	}
	f.graph(p, curves)
}

// stack puts each curve upon those before it.
func stack(curves []curve) {
	below := map[time.Time]float64{}
	for _, curve := range curves {
		for i := range curve.values {
			s := &curve.values[i]
			s.value += below[s.at]
			below[s.at] = s.value
		}
	}
}

// number is the last one.
func (f *frame) number(p panel, curves []curve) {
	text, class := "no data", "small"
	if len(curves) > 0 {
		values := curves[0].values
		last := values[len(values)-1].value
		text, class = written(last, p.FieldConfig.Defaults.Unit), "number"
		if p.bad(last) {
			class = "number bad"
		}
	}
	f.text(f.x+f.width/2, f.y+f.height-22, class, "middle", text)
}

// graph draws the curves over what their names take.
func (f *frame) graph(p panel, curves []curve) {
	names := f.legend(curves)
	left, right, top, bottom := f.x+56, f.x+f.width-12, f.y+32, f.y+f.height-24-float64(names*14)
	highest := highestOf(curves, p.FieldConfig.Defaults.Unit)
	for i := range 3 {
		y := bottom - (bottom-top)*float64(i)/2
		f.add(`  <line class="grid" x1="%.0f" y1="%.1f" x2="%.0f" y2="%.1f"/>`, left, y, right, y)
		f.text(left-6, y+4, "small", "end", written(highest*float64(i)/2, p.FieldConfig.Defaults.Unit))
	}
	whole := f.ended.Sub(f.began)
	for i := range 5 {
		at := whole * time.Duration(i) / 4
		f.text(left+(right-left-12)*float64(i)/4, bottom+14, "small", "middle", fmt.Sprintf("%d:%02d", int(at.Minutes()), int(at.Seconds())%60))
	}
	for i, curve := range curves {
		f.add(`  <path stroke="%s" d="%s"/>`, colours[i%len(colours)], curve.path(func(s sample) (x, y float64) {
			return left + (right-left)*float64(s.at.Sub(f.began))/float64(whole), bottom - (bottom-top)*max(s.value, 0)/highest
		}, whole/points*3/2))
	}
}

// path has a break where values are missing.
func (c curve) path(at func(sample) (x, y float64), most time.Duration) string {
	path := &strings.Builder{}
	var last time.Time
	for _, s := range c.values {
		x, y := at(s)
		command := "L"
		if s.at.Sub(last) > most {
			command = "M"
		}
		_, _ = fmt.Fprintf(path, "%s%.0f %.1f", command, x, y)
		if command == "M" {
			path.WriteString("h1") // a value between two that are missing is seen
		}
		last = s.at
	}
	return path.String()
}

// legend writes the names of curves below the graph, as many as there is room for,
// and returns the lines it took.
func (f *frame) legend(curves []curve) (lines int) {
	const most, letter = 3, 6.2
	rows := [][]int{nil}
	x := 0.0
	for i, curve := range curves {
		width := 18 + letter*float64(len([]rune(shortened(curve.name))))
		if x > 0 && x+width > f.width-20 {
			rows, x = append(rows, nil), 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], i)
		x += width
	}
	rows = rows[:min(len(rows), most)]
	for n, row := range rows {
		x, y := f.x+12, f.y+f.height-8-float64((len(rows)-1-n)*14)
		for _, i := range row {
			f.add(`  <rect x="%.0f" y="%.0f" width="9" height="3" fill="%s"/>`, x, y-5, colours[i%len(colours)])
			f.text(x+13, y, "small", "start", shortened(curves[i].name))
			x += 18 + letter*float64(len([]rune(shortened(curves[i].name))))
		}
	}
	return len(rows)
}

func shortened(name string) string {
	name = strings.ReplaceAll(name, "/accounts/api/", "…/")
	if letters := []rune(name); len(letters) > 44 {
		return string(letters[:43]) + "…"
	}
	return name
}

// highestOf all values, rounded up so that half of it is a good number.
func highestOf(curves []curve, unit string) float64 {
	highest := 0.0
	for _, curve := range curves {
		for _, s := range curve.values {
			highest = max(highest, s.value)
		}
	}
	if highest == 0 {
		return 1
	}
	factor := scaleOf(highest, unit).factor
	factor *= math.Pow(10, math.Floor(math.Log10(highest/factor)))
	for _, step := range []float64{1, 2, 4, 5, 6, 8} {
		if highest <= step*factor {
			return step * factor
		}
	}
	return 10 * factor
}

// bad tells whether a number is shown in red.
func (p panel) bad(value float64) bool {
	colour := ""
	for _, step := range p.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || value >= *step.Value {
			colour = step.Color
		}
	}
	return colour == "red"
}

// scale is a multiple of a unit and its name.
type scale struct {
	factor float64
	name   string
}

// scales of units, the largest first.
var scales = map[string][]scale{
	"s":           {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}, {1e-3, "ms"}, {1e-6, "µs"}},
	"bytes":       {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, "B"}},
	"percentunit": {{0.01, "%"}},
	"short":       {{1e6, "M"}, {1e3, "k"}, {1, ""}},
	"short/s":     {{1e3, "k/s"}, {1, "/s"}},
}

// written is a number with its unit.
func written(value float64, unit string) string {
	if value == 0 {
		return "0"
	}
	s := scaleOf(value, unit)
	return strings.TrimSpace(fmt.Sprintf("%.3g %s", value/s.factor, s.name))
}

func scaleOf(value float64, unit string) scale {
	all := scales[unit]
	for _, s := range all {
		if math.Abs(value) >= s.factor {
			return s
		}
	}
	return all[len(all)-1]
}
