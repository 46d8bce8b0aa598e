// SPDX-License-Identifier: Apache-2.0

// Package browser drives the token server's pages in a real Chromium: whole
// flows, accessibility (axe-core), Content-Security-Policy and screenshots. It
// holds tests only.
//
// Chromium is found as $CHROMIUM, chromium or google-chrome; axe-core as
// $AXE_CORE or in bin/browser, where the Makefile installs it from
// package-lock.json.
package browser
