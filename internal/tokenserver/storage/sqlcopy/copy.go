// SPDX-License-Identifier: Apache-2.0

package sqlcopy

import (
	"context"
	"errors"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/storage"
	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// ErrDiffers says that what was read back is not what was copied.
var ErrDiffers = errors.New("the copy differs")

// ErrUnknown says that the source holds what this program does not know, or lacks
// what it needs.
var ErrUnknown = errors.New("the schema is not this program's")

// Options are those of Copy; zero values mean nothing is done.
type Options struct {
	// Check is called with the keys of the source before anything is written, and with
	// those of the target before it is kept. An error ends the copy.
	Check func(context.Context, storage.KeyReader) error
	// Progress is called again and again with what is being done.
	Progress func(Step)
}

// Step is how far a copy has come with one table.
type Step struct {
	// Doing is "copying" or "comparing".
	Doing, Table string
	Rows, Of     int64
}

// Table is one table that was copied and compared.
type Table struct {
	Name string
	Rows int64
}

// Copy copies every row of from into the empty database to, reads all of it back and
// compares it, in one transaction: should anything fail, to stays empty. Errors are
// those of sqlstore's ReadWhole and WriteWhole, ErrDiffers, ErrUnknown and those of
// o.Check.
func Copy(ctx context.Context, from, to *sqlstore.Store, o Options) ([]Table, error) {
	var done []Table
	err := from.ReadWhole(ctx, func(source *sqlstore.Whole) error {
		if err := o.check(ctx, source); err != nil {
			return err
		}
		return to.WriteWhole(ctx, func(target *sqlstore.Whole) error {
			c := &copier{source: source, target: target, progress: o.Progress}
			tables, err := c.tables(ctx)
			if err != nil {
				return err
			}
			if done, err = c.run(ctx, tables); err != nil {
				return err
			}
			if err := o.check(ctx, target); err != nil {
				return err
			}
			// What somebody wrote meanwhile would be lost.
			return source.Unused(ctx)
		})
	})
	return done, err
}

func (o *Options) check(ctx context.Context, keys storage.KeyReader) error {
	if o.Check == nil {
		return nil
	}
	return o.Check(ctx, keys)
}

type copier struct {
	source, target *sqlstore.Whole
	progress       func(Step)
}

// table is one that both databases have, with the columns in the target's order.
type table struct {
	name     string
	columns  []string
	numbered *sqlstore.Column // nil: none
	rows     int64
}

// run copies all tables, then compares all.
func (c *copier) run(ctx context.Context, tables []*table) ([]Table, error) {
	for _, t := range tables {
		if err := c.copy(ctx, t); err != nil {
			return nil, fmt.Errorf("copying table %s: %w", t.name, err)
		}
	}
	var done []Table
	for _, t := range tables {
		if err := c.compare(ctx, t); err != nil {
			return nil, fmt.Errorf("comparing table %s: %w", t.name, err)
		}
		done = append(done, Table{Name: t.name, Rows: t.rows})
	}
	return done, nil
}

func (c *copier) copy(ctx context.Context, t *table) (err error) {
	if t.rows, err = c.source.Count(ctx, t.name); err != nil {
		return err
	}
	most := c.target.MaxRows(len(t.columns)) * len(t.columns)
	var values []any
	written := int64(0)
	flush := func() error {
		err := c.target.Insert(ctx, t.name, t.columns, values)
		written += int64(len(values) / len(t.columns))
		values = values[:0]
		c.tell(Step{"copying", t.name, written, t.rows})
		return err
	}
	err = c.source.Rows(ctx, t.name, t.columns, func(row []any) error {
		if values = append(values, row...); len(values) < most {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil || t.numbered == nil {
		return err
	}
	// What was numbered and is gone must not be numbered so again.
	last, err := c.source.LastNumber(ctx, *t.numbered)
	if err != nil {
		return err
	}
	return c.target.SetLastNumber(ctx, *t.numbered, last)
}

func (c *copier) tell(s Step) {
	if c.progress != nil {
		c.progress(s)
	}
}
