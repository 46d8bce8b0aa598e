// SPDX-License-Identifier: Apache-2.0

package sqlcopy

import (
	"context"
	"fmt"
	"slices"

	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// tables are those of the target, each after those that its rows refer to. The
// source must have the same, with the same columns.
func (c *copier) tables(ctx context.Context) ([]*table, error) {
	theirs, err := c.source.Columns(ctx)
	if err != nil {
		return nil, err
	}
	ours, err := c.target.Columns(ctx)
	if err != nil {
		return nil, err
	}
	if err := same(theirs, ours); err != nil {
		return nil, err
	}
	before, err := c.target.References(ctx)
	if err != nil {
		return nil, err
	}
	return inOrder(grouped(ours), before), nil
}

func same(theirs, ours []sqlstore.Column) error {
	for _, column := range theirs {
		if !slices.Contains(ours, column) {
			return fmt.Errorf("%w: the source has the column %s.%s, which it does not know", ErrUnknown, column.Table, column.Name)
		}
	}
	for _, column := range ours {
		if !slices.Contains(theirs, column) {
			return fmt.Errorf("%w: the source lacks the column %s.%s", ErrUnknown, column.Table, column.Name)
		}
	}
	return nil
}

// grouped makes tables of columns, which are in the order of their tables.
func grouped(columns []sqlstore.Column) []*table {
	var tables []*table
	for _, column := range columns {
		if len(tables) == 0 || tables[len(tables)-1].name != column.Table {
			tables = append(tables, &table{name: column.Table})
		}
		t := tables[len(tables)-1]
		t.columns = append(t.columns, column.Name)
		if column.Numbered {
			t.numbered = &column
		}
	}
	return tables
}

// inOrder puts each table after those that must be filled before it. No table
// refers to itself, nor any two to each other.
func inOrder(tables []*table, before map[string][]string) []*table {
	var ordered []*table
	placed := map[string]bool{}
	var place func(t *table)
	place = func(t *table) {
		if placed[t.name] {
			return
		}
		placed[t.name] = true
		for _, needed := range tables {
			if slices.Contains(before[t.name], needed.name) {
				place(needed)
			}
		}
		ordered = append(ordered, t)
	}
	for _, t := range tables {
		place(t)
	}
	return ordered
}
