// SPDX-License-Identifier: Apache-2.0

// Package jsonobject is the one reader of JSON objects that others send: bodies
// of requests, headers and claims of assertions. It refuses what parsers read
// differently (a member twice, text that is no UTF-8, more text after the end)
// and what no legitimate request needs, in time and memory that grow with the
// text and no faster. What the members mean is not its business.
package jsonobject
