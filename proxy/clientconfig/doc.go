// Package clientconfig tells clients where to connect: a page or an app that
// asks at its start needs no further release when the answer changes.
package clientconfig
