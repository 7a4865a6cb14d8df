"use strict";
// Loads the parts of a page that are read from Oxen, refreshes what happens now, and puts the
// keyboard into the search field. Every page works without it.

const PERIOD = 2000; // milliseconds between two looks at what happens now

async function fill(place, url) {
  const answer = await fetch(url, { headers: { "X-Part": "1" }, credentials: "same-origin" });
  if (answer.status === 401) {
    location.reload();
    return;
  }
  const text = await answer.text();
  if (answer.ok && place.dataset.last !== text) {
    place.innerHTML = text; // from this server, escaped there
    place.dataset.last = text;
    for (const wide of place.querySelectorAll(".scroll")) wide.scrollLeft = wide.scrollWidth;
  }
}

function loadParts(root) {
  for (const place of root.querySelectorAll("[data-load]")) {
    fill(place, place.dataset.load).catch(() => {
      place.querySelector("[data-wait]")?.replaceChildren("This part could not be loaded.");
    });
  }
}

function refresh() {
  if (document.hidden) return;
  for (const place of document.querySelectorAll("[data-refresh]")) {
    fill(place, place.dataset.refresh).catch(() => {}); // the next look may succeed
  }
}

// Pages of a part are turned in place.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-turn]");
  const place = link?.closest("[data-load]");
  if (!place || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  fill(place, link.href)
    .then(() => place.focus())
    .catch(() => location.assign(link.href));
});

document.addEventListener("keydown", (event) => {
  const typing = /^(input|textarea|select)$/i.test(event.target.tagName);
  const search = document.getElementById("search");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

loadParts(document);
setInterval(refresh, PERIOD);
