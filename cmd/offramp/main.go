package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes. What each command means by them is in its own help.
const (
	exitOK      = 0
	exitFailed  = 1 // not done, not ready, refused
	exitConfig  = 2 // serve and check: the configuration is at fault
	exitUnknown = 2 // report and demo: too little data to say
	exitTool    = 3 // report, stage and plugin: the tool itself failed
)

// exitError ends the program with a code of its own. Err is nil when
// everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// withCode returns err with the exit code it should end the program with;
// nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	err := root.ExecuteContext(ctx)
	os.Exit(exitCode(root.ErrOrStderr(), err))
}

// exitCode tells the user what went wrong, in one line where one is enough,
// and returns the code for it.
func exitCode(stderr interface{ Write([]byte) (int, error) }, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{code: exitFailed, err: err}
	}
	if exit.err != nil {
		fmt.Fprintln(stderr, "offramp:", exit.err) //nolint:errcheck // there is nowhere left to say it
	}
	return exit.code
}
