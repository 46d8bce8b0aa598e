// SPDX-License-Identifier: Apache-2.0

package replicas

import "testing"

func TestX(t *testing.T) { start(t); start(t, throughBouncer()) }
