package sitesource

import "slices"

// match takes the ids of lines over that an earlier state has, wherever they
// stood. It returns the places of the others in now, ascending, and the ids of
// earlier lines that are not there any more, in their order.
func match(old, now []line) (fresh []int, gone []uint32) {
	start := 0
	for start < len(old) && start < len(now) && old[start].hash == now[start].hash {
		now[start].id = old[start].id
		start++
	}
	oldEnd, end := len(old), len(now)
	for oldEnd > start && end > start && old[oldEnd-1].hash == now[end-1].hash {
		oldEnd--
		end--
		now[end].id = old[oldEnd].id
	}
	return matchMoved(old[start:oldEnd], now[start:end], start)
}

// matchMoved matches lines in any order. The place of the first one in now is
// offset.
func matchMoved(old, now []line, offset int) (fresh []int, gone []uint32) {
	var places map[uint64]int
	if len(now) > 0 {
		places = make(map[uint64]int, len(old))
		for i := range old {
			places[old[i].hash] = i
		}
	}
	kept := make([]bool, len(old))
	if len(old) == 0 {
		fresh = make([]int, 0, len(now))
	}
	for i := range now {
		// A line that is there twice is matched once: the other is decoded,
		// and found to have the same id.
		if place, ok := places[now[i].hash]; ok && !kept[place] {
			kept[place] = true
			now[i].id = old[place].id
		} else {
			fresh = append(fresh, offset+i)
		}
	}
	for i := range old {
		if !kept[i] {
			gone = append(gone, old[i].id)
		}
	}
	return fresh, gone
}

// settleIDs returns which ids that were on lines that are gone are on no fresh
// line, ascending, and reports whether there seem to be two lines with the
// same id. Lines that could not be decoded may make it say so wrongly.
func settleIDs(lines []line, fresh []int, gone []uint32) (removed []uint32, clash bool) {
	ids := make(map[uint32]struct{}, len(fresh))
	for _, i := range fresh {
		ids[lines[i].id] = struct{}{}
	}
	clash = len(ids) < len(fresh)
	unknown := len(ids)
	for _, id := range gone {
		if _, ok := ids[id]; ok {
			unknown--
		} else {
			removed = append(removed, id)
		}
	}
	slices.Sort(removed)
	// An id whose line is gone cannot be on one that is kept, since there was
	// one line of it only: mostly there is nothing to search for.
	return removed, clash || unknown > 0 && meets(lines, fresh, ids)
}

// meets reports whether a line that is not fresh has one of the ids.
func meets(lines []line, fresh []int, ids map[uint32]struct{}) bool {
	for i := range lines {
		if len(fresh) > 0 && fresh[0] == i {
			fresh = fresh[1:]
		} else if _, ok := ids[lines[i].id]; ok {
			return true
		}
	}
	return false
}
