// SPDX-License-Identifier: Apache-2.0

// Package pages renders what people see of the token server: sign-in, the
// Authorize App page, authorized apps, sign-out and errors. It owns templates,
// the style sheet, every text and the headers that protect a page. It decides
// nothing: endpoints fill a view and hand it over.
//
// Pages carry no script and no inline style, so that the Content-Security-Policy
// can forbid both.
package pages
