"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const tags = { en: "en", zh: "zh-Hans" };
  const views = new Map();
  let turn = 0;

  const spoken = () => document.querySelector("[name=language]:checked").value;

  function datasetsOf(spec, found = {}) {
    if (Array.isArray(spec)) spec.forEach((part) => datasetsOf(part, found));
    else if (spec && typeof spec === "object") {
      const name = spec.data && spec.data.name;
      if (name in data.datasets) found[name] = data.datasets[name];
      Object.values(spec).forEach((part) => datasetsOf(part, found));
    }
    return found;
  }

  async function draw() {
    const mine = ++turn;
    const language = spoken();
    root.dataset.charts = "drawing";
    for (const place of document.querySelectorAll("[data-chart]")) {
      if (mine !== turn) return;
      const name = place.dataset.chart;
      const spec = data.charts[name][language];
      views.get(name)?.finalize();
      const drawn = await vegaEmbed(place, { ...spec, datasets: datasetsOf(spec) }, {
        ast: true, renderer: "svg", actions: false, defaultStyle: false, config: data.config,
        tooltip: { disableDefaultStyle: true },
      });
      views.set(name, drawn);
    }
    if (mine === turn) root.dataset.charts = "drawn";
  }

  function speak() {
    const language = spoken();
    const title = document.querySelector("title");
    root.lang = tags[language];
    document.title = title.dataset[language];
    return draw();
  }

  function download(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // A picture that stands alone: colours as they are on screen, panels where they are on screen.
  function picture(figure) {
    const box = figure.getBoundingClientRect();
    const whole = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    whole.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    whole.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    whole.setAttribute("width", box.width);
    whole.setAttribute("height", box.height);
    whole.style.background = getComputedStyle(document.body).backgroundColor;
    for (const chart of figure.querySelectorAll(".chart svg")) {
      const at = chart.getBoundingClientRect();
      const copy = chart.cloneNode(true);
      const parts = copy.querySelectorAll("*");
      chart.querySelectorAll("*").forEach((part, i) => {
        for (const paint of ["fill", "stroke"])
          if ((part.getAttribute(paint) || "").startsWith("var("))
            parts[i].setAttribute(paint, getComputedStyle(part)[paint]);
      });
      copy.setAttribute("x", at.left - box.left);
      copy.setAttribute("y", at.top - box.top);
      whole.append(copy);
    }
    return new XMLSerializer().serializeToString(whole);
  }

  function csv(table) {
    const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return [...table.rows].map((row) => [...row.cells].map((cell) =>
      quoted(cell.dataset.value ?? cell.innerText.trim())).join(",")).join("\r\n");
  }

  function order(table, column, heading) {
    const falling = heading.getAttribute("aria-sort") === "ascending";
    const value = (row) => row.cells[column].dataset.value;
    const numeric = heading.classList.contains("n");
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return (falling ? -1 : 1) * (numeric ? a - b : a.localeCompare(b));
    });
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    body.append(...rows);
  }

  root.classList.add("drawing");
  for (const table of document.querySelectorAll("[data-sortable]")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => order(table, column, heading));
    });
  }
  for (const button of document.querySelectorAll(".save")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      if (button.dataset.csv)
        download("runs.csv", "text/csv;charset=utf-8", "\ufeff" + csv(document.getElementById(button.dataset.csv)));
      else
        download(`${button.dataset.save}.svg`, "image/svg+xml",
          picture(button.closest("figure").querySelector("[role=img]")));
    });
  }
  addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details.record")) part.open = true;
  });
  for (const choice of document.querySelectorAll("[name=language]"))
    choice.addEventListener("change", speak);
  if (!root.dataset.language) {
    const wanted = (navigator.languages || [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
    const first = wanted.find((tag) => tag in tags);
    document.getElementById(`lang-${first || "en"}`).checked = true;
  }
  speak().catch((problem) => {
    root.dataset.charts = "failed";
    throw problem;
  });
})();
