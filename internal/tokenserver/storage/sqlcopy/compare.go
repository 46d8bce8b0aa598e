// SPDX-License-Identifier: Apache-2.0

package sqlcopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// tellEvery is after how many rows a comparison tells how far it is.
const tellEvery = 500

// compare reads a table of both databases side by side: every row, every value, and
// the number that comes next.
func (c *copier) compare(ctx context.Context, t *table) error {
	var failed error
	theirs, stop := iter.Pull(rowsOf(ctx, c.source, t, &failed))
	defer stop()
	n := int64(0)
	err := c.target.Rows(ctx, t.name, t.columns, func(row []any) error {
		n++
		original, more := theirs()
		if !more {
			return errors.Join(failed, fmt.Errorf("%w: there are more than %d rows", ErrDiffers, n-1))
		}
		if column := difference(original, row); column >= 0 {
			return fmt.Errorf("%w: row %d in the order of its bytes has another value of %s", ErrDiffers, n, t.columns[column])
		}
		if n%tellEvery == 0 {
			c.tell(Step{"comparing", t.name, n, t.rows})
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, more := theirs(); more || failed != nil || n != t.rows {
		return errors.Join(failed, fmt.Errorf("%w: there are %d rows of %d", ErrDiffers, n, t.rows))
	}
	c.tell(Step{"comparing", t.name, n, t.rows})
	return c.compareNumber(ctx, t)
}

func (c *copier) compareNumber(ctx context.Context, t *table) error {
	if t.numbered == nil {
		return nil
	}
	want, err := c.source.LastNumber(ctx, *t.numbered)
	if err != nil {
		return err
	}
	got, err := c.target.LastNumber(ctx, *t.numbered)
	if err == nil && got != want {
		err = fmt.Errorf("%w: %s goes on after %d instead of %d", ErrDiffers, t.numbered.Name, got, want)
	}
	return err
}

// rowsOf are the rows of a table; failed is set when they end early.
func rowsOf(ctx context.Context, w *sqlstore.Whole, t *table, failed *error) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		enough := errors.New("enough")
		err := w.Rows(ctx, t.name, t.columns, func(row []any) error {
			if !yield(row) {
				return enough
			}
			return nil
		})
		if err != nil && !errors.Is(err, enough) {
			*failed = err
		}
	}
}

// difference returns the first column in which two rows differ, -1 when none does.
// A NULL is no empty text, and bytes are no text.
func difference(a, b []any) int {
	for i := range a {
		if !equal(a[i], b[i]) {
			return i
		}
	}
	return -1
}

func equal(a, b any) bool {
	if bytesA, ok := a.([]byte); ok {
		bytesB, ok := b.([]byte)
		return ok && bytes.Equal(bytesA, bytesB)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}
