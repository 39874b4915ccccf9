package stats

import (
	"slices"
	"testing"
)

func TestOf(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{3}, Summary{1, 3, 3, 3}},
		{[]float64{4, 1}, Summary{2, 2.5, 1, 4}},
		{[]float64{9, 1, 5}, Summary{3, 5, 1, 9}},
	} {
		if got := Of(test.values); got != test.want {
			t.Errorf("%v: %+v, not %+v", test.values, got, test.want)
		}
	}
}

func TestOfLeavesValuesInOrder(t *testing.T) {
	values := []float64{3, 1, 2}
	Of(values)
	if !slices.Equal(values, []float64{3, 1, 2}) {
		t.Errorf("they are %v now", values)
	}
}

func TestQuantile(t *testing.T) {
	values := make([]float64, 101)
	for i := range values {
		values[i] = float64(i)
	}
	for q, want := range map[float64]float64{0: 0, 0.5: 50, 0.99: 99, 0.995: 99.5, 1: 100} {
		if got := Quantile(values, q); got != want {
			t.Errorf("%v: %v, not %v", q, got, want)
		}
	}
	if got := Quantile(nil, 0.5); got != 0 {
		t.Errorf("%v of nothing", got)
	}
}

func TestPairs(t *testing.T) {
	of, to := map[int]float64{1: 4, 2: 9, 3: 1, 5: 7}, map[int]float64{1: 2, 2: 3, 4: 1, 5: 0}
	if got := Ratios(of, to); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("ratios %v", got)
	}
	if got := RatioOfMeans(of, to); got != 13./5 {
		t.Errorf("ratio of means %v", got)
	}
	if got := RatioOfMeans(of, nil); got != 0 {
		t.Errorf("ratio of means %v to nothing", got)
	}
	if got := Differences(of, to); !slices.Equal(got, []float64{2, 6, 7}) {
		t.Errorf("differences %v", got)
	}
}
