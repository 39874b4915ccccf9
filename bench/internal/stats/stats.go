// Package stats sums up repeated measurements.
package stats

import (
	"math"
	"slices"
)

// Summary is a median with the extremes around it.
type Summary struct {
	N                int
	Median, Min, Max float64
}

// Of sums up values. Without values everything in it is 0.
func Of(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return Summary{N: len(sorted), Median: Quantile(sorted, 0.5), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// Quantile returns the value below which a share q of the sorted values lies,
// interpolated between neighbours; 0 without values.
func Quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := math.Floor(at)
	i := int(low)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-low)*(sorted[i+1]-sorted[i])
}

// Ratios divides values of the same repetition, which were measured close to
// each other in time. Repetitions that one of them lacks are left out.
func Ratios(of, to map[int]float64) []float64 {
	return pairs(of, to, func(v, base float64) (float64, bool) { return v / base, base != 0 })
}

// RatioOfMeans divides the means over the repetitions that both have; 0 if there
// are none. Where a cost comes now and then, such as a garbage collection, it is
// in the means as often as it comes, and in a median perhaps not at all.
func RatioOfMeans(of, to map[int]float64) float64 {
	var sum, base float64
	for rep, v := range of {
		if other, ok := to[rep]; ok && other != 0 {
			sum, base = sum+v, base+other
		}
	}
	if base == 0 {
		return 0
	}
	return sum / base
}

// Differences subtracts values of the same repetition, like Ratios.
func Differences(of, to map[int]float64) []float64 {
	return pairs(of, to, func(v, base float64) (float64, bool) { return v - base, true })
}

func pairs(of, to map[int]float64, combine func(v, base float64) (float64, bool)) []float64 {
	var results []float64
	for rep, v := range of {
		if base, ok := to[rep]; ok {
			if result, ok := combine(v, base); ok {
				results = append(results, result)
			}
		}
	}
	slices.Sort(results)
	return results
}
