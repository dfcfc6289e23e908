// Command suite runs the side-by-side table: Offramp, its peers and the
// floor programs under the same load generator, a fresh server process for
// every run, servers in rotated order, and prints medians and the ratios
// that the project has set itself.
//
// The suite starts itself again as the generator, so that generator and
// server can be given a CPU each.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/offramp/offramp/bench"
)

// job is what the suite hands to itself on standard input.
type job struct {
	Target bench.Target
	Load   bench.Load
}

func main() {
	// Servers die with the thread that started them (PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "suite:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var s suite
	generator := flag.Bool("generate", false, "be the generator: one job as JSON on standard input")
	cases := flag.String("cases", ".", "regular expression for the cases to run")
	curves := flag.Bool("curves", false, "run the curves of how Offramp's cost grows instead of the table")
	mirroring := flag.Bool("mirroring", false, "run what backends cost the gateway and its clients instead of the table")
	servers := flag.String("servers", "", "servers to run, separated by commas (default: all of each case)")
	flag.IntVar(&s.runs, "runs", 5, "runs of each server in each case")
	flag.IntVar(&s.attempts, "attempts", 3, "how often to try each until other work on the machine does not disturb it")
	flag.BoolVar(&s.short, "short", false, "one second of measuring, for a look rather than a result")
	flag.StringVar(&s.programs.offramp, "offramp", "./offramp", "the gateway's binary")
	flag.StringVar(&s.programs.sink, "sink", "", "the binary of the plugin without a backend")
	flag.StringVar(&s.programs.floor, "floor", "", "the floor program's binary")
	flag.StringVar(&s.programs.centrifugo, "centrifugo", "", "Centrifugo's binary")
	flag.StringVar(&s.programs.node, "node", "", "folder with the Node peers installed")
	results := flag.String("results", "", "file that every single result is appended to, as JSON lines")
	table := flag.String("table", "", "print the table of an earlier results file instead of running")
	flag.Parse()

	switch {
	case *generator:
		return generate(ctx)
	case *table != "":
		old, err := readResults(*table)
		if err != nil {
			return err
		}
		report(os.Stdout, old)
		return nil
	}
	only, err := regexp.Compile(*cases)
	if err != nil {
		return fmt.Errorf("flag -cases: %w", err)
	}
	s.only, s.log, s.cases = only, os.Stderr, allCases()
	if *curves {
		s.cases = curveCases()
	}
	if *mirroring {
		s.cases = mirroringCases()
	}
	if *servers != "" {
		s.servers = strings.Split(*servers, ",")
	}
	if *results != "" {
		file, err := os.OpenFile(*results, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open results: %w", err)
		}
		defer file.Close()
		s.results = file
	}
	if runtime.NumCPU() < 2 {
		return errors.New("the suite needs two CPUs: one for the server, one for the generator")
	}
	lines, err := s.runAll(ctx)
	report(os.Stdout, lines)
	return err
}

// generate runs one job and prints its result. A test that failed has a
// result too; its trouble is in there.
func generate(ctx context.Context) error {
	runtime.GOMAXPROCS(1)
	var j job
	if err := json.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return fmt.Errorf("read job: %w", err)
	}
	result, err := bench.Run(ctx, j.Target, j.Load)
	if err != nil && result.Test == "" {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}
