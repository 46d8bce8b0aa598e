// SPDX-License-Identifier: Apache-2.0

package sqlcopy

import (
	"context"
	"errors"
	"fmt"

	"connectedapps.dev/operator/internal/tokenserver/storage/sqlstore"
)

// Compare compares two databases, of which it closes both.
func Compare(ctx context.Context, from, to *sqlstore.Store) error {
	err := from.ReadWhole(ctx, func(source *sqlstore.Whole) error {
		return to.ReadWhole(ctx, func(target *sqlstore.Whole) error {
			c := &copier{source: source, target: target}
			tables, err := c.tables(ctx)
			for _, t := range tables {
				if t.rows, err = source.Count(ctx, t.name); err != nil {
					return err
				}
				if err := c.compare(ctx, t); err != nil {
					return fmt.Errorf("table %s: %w", t.name, err)
				}
			}
			return err
		})
	})
	return errors.Join(err, from.Close(), to.Close())
}
