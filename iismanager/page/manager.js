// What the page does beyond HTML: it searches while somebody types. Without it, all
// works by links and forms.
"use strict";

const search = document.querySelector("[data-search]");
if (search) {
	const results = document.getElementById("results");
	let asked = null;
	let timer = 0;

	const find = async () => {
		if (asked) asked.abort();
		asked = new AbortController();
		const query = new URLSearchParams(new FormData(search));
		for (const [name, value] of [...query]) if (!value) query.delete(name);
		const url = new URL(search.action);
		url.search = query.toString();
		try {
			const answer = await fetch(url, {headers: {"Iis-Part": "results"}, signal: asked.signal});
			if (!answer.ok) {
				search.submit(); // the page of the answer says why
				return;
			}
			// It is a page of this server, whose texts are escaped.
			results.innerHTML = await answer.text();
			history.replaceState(null, "", url);
		} catch (err) {
			if (err.name !== "AbortError") search.submit();
		}
	};

	search.addEventListener("input", () => {
		clearTimeout(timer);
		timer = setTimeout(find, 120);
	});
}
