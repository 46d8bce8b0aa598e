// SPDX-License-Identifier: Apache-2.0

package postgresql

import "database/sql"

// Pool is the pool of a storage that is opened with o.
func (o Options) Pool() (*sql.DB, error) {
	config, err := o.config()
	if err != nil {
		return nil, err
	}
	return o.pool(config, &installation{}), nil
}
