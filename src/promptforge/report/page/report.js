"use strict";
(() => {
  const root = document.documentElement;
  const theme = document.getElementById("theme");
  const dark = () => getComputedStyle(root).colorScheme === "dark" ||
    (root.dataset.theme === undefined && matchMedia("(prefers-color-scheme: dark)").matches);
  const name = () => { theme.textContent = dark() ? "Light" : "Dark"; theme.setAttribute("aria-label", `Switch to ${theme.textContent.toLowerCase()} colours`); };
  theme.hidden = false;
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();

  const form = document.getElementById("filter");
  if (!form) return;
  const items = [...document.querySelectorAll("#pictures li.item")];
  const groups = [...document.querySelectorAll("#pictures .group")];
  const search = form.elements.search;
  const told = form.querySelector("output");
  const openers = () => items.filter((item) => !item.hidden).map((item) => item.querySelector(".open"));
  form.hidden = false;
  for (const item of items) {
    item.words = item.querySelector("figcaption").textContent.toLowerCase();
    item.querySelector("summary")?.setAttribute("tabindex", "-1");
  }

  function rove(chosen) {
    for (const item of items) item.querySelector(".open").tabIndex = -1;
    if (chosen) chosen.tabIndex = 0;
  }
  function apply() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of items) {
      const fits = ["axis", "kind", "category", "reason"].every((key) => {
        const wanted = form.elements[key].value;
        return wanted === "" || item.dataset[key] === wanted;
      });
      item.hidden = !(fits && words.every((word) => item.words.includes(word)));
    }
    for (const group of groups) group.hidden = !group.querySelector("li.item:not([hidden])");
    const shown = openers();
    told.textContent = `${shown.length} of ${items.length} pictures shown here`;
    rove(shown[0]);
  }
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  apply();

  const dialog = document.getElementById("enlarged");
  const place = dialog.querySelector(".place");
  const where = dialog.querySelector(".bar span");
  let current = null;
  function enlarge(opener) {
    current = opener;
    const copy = opener.closest(".pic").cloneNode(true);
    copy.querySelector("details")?.setAttribute("open", "");
    const inner = copy.querySelector(".open");
    const plain = document.createElement("div");
    plain.className = "open";
    plain.append(...inner.childNodes);
    inner.replaceWith(plain);
    place.replaceChildren(copy);
    const shown = openers();
    where.textContent = `${shown.indexOf(opener) + 1} of ${shown.length}`;
    rove(opener);
    if (!dialog.open) dialog.showModal();
  }
  function move(from, step) {
    const shown = openers();
    const to = shown[shown.indexOf(from) + step];
    if (!to) return;
    if (dialog.open) { enlarge(to); return; }
    rove(to);
    to.focus();
  }
  function columns(from) {
    const grid = from.closest(".grid");
    return getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  }
  for (const item of items) item.querySelector(".open").addEventListener("click", (event) => enlarge(event.currentTarget));
  dialog.querySelector(".before").addEventListener("click", () => move(current, -1));
  dialog.querySelector(".after").addEventListener("click", () => move(current, 1));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { current?.focus(); });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !typing && !dialog.open) {
      event.preventDefault();
      search.focus();
      return;
    }
    if (event.key === "Escape" && typing) { document.activeElement.blur(); return; }
    const from = dialog.open ? current : document.activeElement.closest?.(".open");
    if (!from) return;
    const down = dialog.open ? 1 : columns(from);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: down, ArrowUp: -down }[event.key];
    if (step) { event.preventDefault(); move(from, step); }
  });
})();
