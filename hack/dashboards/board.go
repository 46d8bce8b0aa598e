// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Units of panels.
const (
	count   = units.Short
	perSec  = units.Short + "/s"
	seconds = units.Seconds
	bytes   = units.BytesIEC
	ratio   = units.PercentUnit
)

// tag is that of all dashboards: each links to the others by it.
const tag = "connectedapps"

// board is a dashboard: rows of panels below choices.
type board struct {
	title, description string
	choices            []choice
	rows               []row
}

// choice is a variable that narrows what all panels show, to all at first.
type choice struct {
	name, label string
	// query of Grafana for its values.
	query string
}

type row struct {
	title  string
	panels []panel
}

// panel is a graph, or a number when it is small.
type panel struct {
	title, description, unit string
	queries                  []query
	small, stacked           bool
	// bad is the number from which a small panel is red; below turns that round.
	bad   *float64
	below bool
}

// query and what a series of it is called.
type query struct{ expr, legend string }

// graph of one query.
func graph(title, description, unit, legend, expr string, more ...query) panel {
	return panel{title: title, description: description, unit: unit, queries: append([]query{{expr, legend}}, more...)}
}

// states is a graph of how many objects are in each state.
func states(title, description, expr string) panel {
	p := graph(title, description, count, "{{ready}} {{reason}}", expr)
	p.stacked = true
	return p
}

// number is that of now.
func number(title, description, unit, expr string) panel {
	return panel{title: title, description: description, unit: unit, queries: []query{{expr: expr}}, small: true}
}

// from is red from a number on.
func (p panel) from(bad float64) panel {
	p.bad = &bad
	return p
}

// under is red below a number.
func (p panel) under(bad float64) panel {
	p.bad, p.below = &bad, true
	return p
}

// source is the Prometheus that the reader chooses.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// build makes it in the classic form, which every Grafana takes from a ConfigMap.
func (b board) build(name string) (dashboard.Dashboard, error) { //nolint:staticcheck // the newer form needs a newer Grafana
	builder := dashboard.NewDashboardBuilder("Connected Apps: "+b.title). //nolint:staticcheck // likewise
										Uid("connectedapps-"+name).
										Description(b.description).
										Tags([]string{tag}).
										Refresh("1m").
										Time("now-6h", "now").
										Tooltip(dashboard.DashboardCursorSyncCrosshair).
										Link(dashboard.NewDashboardLinkBuilder("Connected Apps").
											Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{tag}).KeepTime(true)).
										WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Prometheus").Type("prometheus"))
	for _, c := range b.choices {
		builder.WithVariable(c.build())
	}
	id := uint32(0)
	next := func() uint32 {
		id++
		return id
	}
	for _, r := range b.rows {
		builder.WithRow(dashboard.NewRowBuilder(r.title).Id(next()))
		for _, p := range r.panels {
			builder.WithPanel(p.build(next()))
		}
	}
	return builder.Build()
}

func (c choice) build() cog.Builder[dashboard.VariableModel] {
	return dashboard.NewQueryVariableBuilder(c.name).
		Label(c.label).
		Datasource(source).
		Query(dashboard.StringOrMap{Map: map[string]any{"query": c.query, "refId": c.name}}).
		Definition(c.query).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).
		IncludeAll(true).
		Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
}

func (p panel) build(id uint32) cog.Builder[dashboard.Panel] {
	if p.small {
		return p.buildNumber(id)
	}
	builder := timeseries.NewPanelBuilder().
		Id(id).
		Title(p.title).
		Description(p.description).
		Datasource(source).
		Span(8).Height(8).
		Unit(p.unit).
		Min(0).
		FillOpacity(10).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.stacked {
		builder.FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	for i, q := range p.queries {
		builder.WithTarget(q.build(i))
	}
	return builder
}

func (p panel) buildNumber(id uint32) cog.Builder[dashboard.Panel] {
	builder := stat.NewPanelBuilder().
		Id(id).
		Title(p.title).
		Description(p.description).
		Datasource(source).
		Span(4).Height(4).
		Unit(p.unit).
		GraphMode(common.BigValueGraphModeArea).
		ColorMode(common.BigValueColorModeValue).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Thresholds(p.thresholds())
	for i, q := range p.queries {
		builder.WithTarget(q.build(i))
	}
	return builder
}

func (p panel) thresholds() *dashboard.ThresholdsConfigBuilder {
	steps := []dashboard.Threshold{{Color: "green"}}
	if p.bad != nil {
		steps = append(steps, dashboard.Threshold{Color: "red", Value: p.bad})
	}
	if p.below {
		steps[0].Color, steps[1].Color = "red", "green"
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps)
}

func (q query) build(i int) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().
		Datasource(source).
		RefId(string(rune('A' + i))).
		Expr(q.expr).
		LegendFormat(q.legend).
		Range()
}
