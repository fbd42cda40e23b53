"use strict";
(() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const tags = { en: "en", zh: "zh-Hans" };
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  const layer = $("layer"), step = $("step"), look = $("look");
  const articles = [...document.querySelectorAll(".layer")];
  let chosen = 0;

  const spoken = () => document.querySelector("[name=language]:checked").value;
  const words = () => data.words[spoken()];
  const record = () => data.records[chosen];

  function number(value, digits = 3) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const size = Math.abs(value);
    if (size && !(size >= 1e-4 && size < 1e6)) {
      const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
      const raised = String(Number(exponent)).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
      return `${Number(mantissa)}·10${raised}`.replace("-", "−");
    }
    const text = size >= 10 ** digits ? value.toFixed(0) : String(Number(value.toPrecision(digits)));
    return text.replace("-", "−");
  }
  const percent = (share) => (share === null ? "–" : `${number(100 * share)}%`);
  const factor = (nats) => (nats === null ? "–" : `×${number(Math.exp(nats))}`);

  const whole = (share) => (share > 0 && share < .005 ? "<1%" : `${Math.round(100 * share)}%`);

  // The scales a drawing was made with, so that more can be drawn on it.
  function across(svg) {
    const { time, training, across } = svg.dataset;
    const [start, stop, low, high, top, bottom] = (time ?? training ?? across).split(" ").map(Number);
    return { at: (t) => start + (t - low) / (high - low) * (stop - start),
             back: (x) => low + (x - start) / (stop - start) * (high - low), low, high, top, bottom };
  }
  function up(svg) {
    const [start, stop, low, high, log] = svg.dataset.up.split(" ").map(Number);
    const scaled = log ? Math.log : (v) => v;
    return (v) => {
      if (v === null || (log && v <= 0)) return NaN;
      const share = (scaled(v) - scaled(low)) / (scaled(high) - scaled(low));
      return start + Math.min(1, Math.max(0, share)) * (stop - start);
    };
  }

  function cursor(svg, value) {
    const scale = across(svg);
    let line = svg.querySelector(".cursor");
    if (!line) {
      line = document.createElementNS(SVG, "line");
      line.setAttribute("class", "cursor");
      svg.append(line);
    }
    const x = scale.at(value).toFixed(1);
    for (const [key, v] of [["x1", x], ["x2", x], ["y1", scale.top], ["y2", scale.bottom]]) line.setAttribute(key, v);
  }

  function linePath(xs, ys, svg) {
    const x = across(svg), y = up(svg);
    let path = "", before = false;
    xs.forEach((t, i) => {
      const b = y(ys[i]);
      if (!Number.isFinite(b) || t > x.high) { before = false; return; }
      path += `${before ? "L" : "M"}${x.at(t).toFixed(1)},${b.toFixed(1)}${before ? "" : "h.01"}`;
      before = true;
    });
    return path;
  }
  function barPath(xs, ys, svg) {
    const x = across(svg), y = up(svg);
    const wide = Math.max(0.7, 0.8 * (x.at(xs.length > 1 ? xs[1] : xs[0] + 1) - x.at(xs[0])));
    return xs.map((t, i) => (ys[i] === null || t > x.high ? "" :
      `M${(x.at(t) - wide / 2).toFixed(1)},${y(0).toFixed(1)}h${wide.toFixed(1)}V${y(ys[i]).toFixed(1)}h${(-wide).toFixed(1)}z`)).join("");
  }

  function bandPath(xs, low, high, svg) {
    const x = across(svg), y = up(svg);
    const floor = (v) => (Number.isFinite(y(v)) ? y(v) : x.bottom);
    const held = xs.map((t, i) => i).filter((i) => low[i] !== null && Number.isFinite(y(high[i])) && xs[i] <= x.high);
    if (!held.length) return "";
    const there = held.map((i) => `${x.at(xs[i]).toFixed(1)},${y(high[i]).toFixed(1)}`);
    const back = held.reverse().map((i) => `${x.at(xs[i]).toFixed(1)},${floor(low[i]).toFixed(1)}`);
    return `M${there.join("L")}L${back.join("L")}z`;
  }
  function strip(group, xs, values, svg) {
    const x = across(svg), [top, high, levels] = group.dataset.strip.split(" ").map(Number);
    const wide = (x.at(x.high) - x.at(x.low)) / Math.max(xs.length, 1);
    group.replaceChildren(...xs.flatMap((t, i) => {
      const level = Math.ceil(Math.min(1, values[i] ?? 0) * levels);
      if (level <= 0) return [];
      const cell = document.createElementNS(SVG, "path");
      cell.setAttribute("d", `M${(x.at(x.low) + i * wide).toFixed(1)},${top}h${wide.toFixed(1)}v${high}h${(-wide).toFixed(1)}z`);
      cell.setAttribute("fill-opacity", (level / levels).toFixed(2));
      return [cell];
    }));
  }
  function share(part, value, svg) {
    const x = across(svg), wide = x.at(value) - x.at(0);
    if (part.tagName === "text") {
      part.textContent = whole(value);
      part.setAttribute("x", (x.at(value) + 5).toFixed(1));
    } else part.setAttribute("d", part.getAttribute("d").replace(/h[^v]+v(\d+)h[^z]+z/, `h${wide.toFixed(1)}v$1h${(-wide).toFixed(1)}z`));
  }

  // One named part of a drawing, as an earlier look has it.
  function redraw(part, frame) {
    const { name } = part.dataset, svg = part.ownerSVGElement, [kind, of] = name.split("_");
    if (kind === "class") share(part, frame.classes[name.slice(6)] ?? 0, svg);
    else if (name === "last_steps") {
      const at = across(svg).at(Math.min(frame.last_steps, frame.lag.at(-1))).toFixed(1);
      part.setAttribute("d", part.getAttribute("d").replace(/([ML])[^,]+/g, `$1${at}`));
    } else if (name === "zero") strip(part, frame.time, frame.zero, svg);
    else if (name === "spread") part.setAttribute("d", bandPath(frame.time, frame.low, frame.high, svg));
    else if (name === "share") part.setAttribute("d", barPath(frame.time, frame.share, svg));
    else if (name === "cumulative") part.setAttribute("d", linePath(frame.lag, frame.cumulative, svg));
    else if (kind === "path") part.setAttribute("d", linePath(frame.time, frame.paths[of] ?? [], svg));
    else part.setAttribute("d", linePath(frame.time, frame[name], svg));
  }

  // At the last look the page shows every step of it as it was drawn; earlier ones are redrawn.
  const drawn = new Map();
  function showLook() {
    const index = Number(look.value);
    $("look-value").textContent = words().look_value.replace("{step}", data.looks[index]);
    look.setAttribute("aria-valuetext", $("look-value").textContent);
    const last = index === data.looks.length - 1;
    articles.forEach((article) => {
      const frame = data.records[article.dataset.record].frames[index];
      if (!frame) return;
      article.classList.toggle("earlier", !last);
      for (const part of article.querySelectorAll("[data-followed] [data-name]")) {
        if (!drawn.has(part)) drawn.set(part, part.cloneNode(true));
        const own = drawn.get(part);
        for (const key of ["d", "x"]) if (own.hasAttribute(key)) part.setAttribute(key, own.getAttribute(key));
        if (part.tagName !== "path") part.replaceChildren(...own.cloneNode(true).childNodes);
        if (!last) redraw(part, frame);
      }
    });
    $("look-note").hidden = last;
    for (const svg of document.querySelectorAll("svg[data-training]")) cursor(svg, data.looks[index]);
    showStep();
  }

  // The look that is shown if it is not the last one, with its thinned series.
  function earlier() {
    const index = look ? Number(look.value) : -1;
    return look && index < data.looks.length - 1 ? record().frames[index] : undefined;
  }
  const sharesNow = () => earlier() ?? { time: record().series.share.map((_, t) => t), share: record().series.share };

  function valuesAt(t) {
    const { series } = record(), frame = earlier();
    if (!frame) return Object.fromEntries(Object.keys(series).map((name) => [name, series[name][t] ?? null]));
    let near = 0;
    frame.time.forEach((x, i) => { if (Math.abs(x - t) < Math.abs(frame.time[near] - t)) near = i; });
    return Object.fromEntries(Object.keys(series).filter((name) => name in frame).map((name) => [name, frame[name][near] ?? null]));
  }

  function showStep() {
    const t = Number(step.value), { steps } = record(), at = valuesAt(t), say = words();
    $("step-value").textContent = `${t} / ${steps - 1}`;
    for (const svg of articles[chosen].querySelectorAll("svg[data-time]")) cursor(svg, t);
    const told = [
      ["‖g‖", number(at.total)], ["‖e‖", number(at.injected)], ["φ′", factor(at.slope)],
      ["W_hh", factor(at.weights)], [say.sum_share, percent(at.share)],
    ];
    if (at.on !== undefined) told.push([say.sum_on, percent(at.on)]);
    $("readout").replaceChildren(...told.map(([name, value]) => {
      const part = document.createElement("span"), bold = document.createElement("b");
      bold.textContent = value;
      part.append(`${name} `, bold);
      return part;
    }));
    step.setAttribute("aria-valuetext",
      `${say.step} ${t}: ${told.map((pair) => pair.join(" ")).join(", ")}`);
    sums(t, at, say);
    remember();
  }

  function sums(t, at, say) {
    const { kind, reverse } = record(), { time, share } = sharesNow();
    const lines = [[say.sum_arrives, number(at.total, 4)], [say.sum_injected, number(at.injected, 4)]];
    const gain = at.gain === null || at.gain === undefined ? null : Math.exp(at.gain);
    const name = kind === "elman" ? say.sum_gain : say.sum_gain_gated;
    if (gain === null) lines.push([name, say.arithmetic_none]);
    else if (kind === "elman")
      lines.push([name, `ln q = ${number(at.slope, 4)} + (${number(at.weights, 4)}) = ${number(at.gain, 4)}   q = ${number(Math.exp(at.slope), 4)} × ${number(Math.exp(at.weights), 4)} = ${number(gain, 4)}`]);
    else lines.push([name, `ln q = ${number(at.gain, 4)}   q = ${number(gain, 4)}`]);
    if (gain !== null && kind !== "lstm" && at.total !== null)
      lines.push([say.sum_passed, `${number(at.total, 4)} × ${number(gain, 4)} = ${number(at.total * gain, 4)}`]);
    const later = share.reduce((sum, v, i) => sum + ((reverse ? time[i] <= t : time[i] >= t) ? v ?? 0 : 0), 0);
    const sign = reverse ? "≤" : "≥";
    lines.push([say.sum_share, `s = ${percent(at.share)}   Σ(t′ ${sign} ${t}) = ${percent(at.share === null ? null : later)}`]);
    const place = articles[chosen].querySelector(".sums");
    if (!place) return;
    place.replaceChildren(...lines.map(([name, value]) => {
      const line = document.createElement("p"), label = document.createElement("span"), code = document.createElement("code");
      label.className = "label";
      label.textContent = name;
      code.textContent = value;
      line.append(label, code);
      return line;
    }));
  }

  // A unit of the barcode: where its pre-activations lie on the curves of the activation.
  const unitOf = articles.map(() => null);
  function unitName(index, row) {
    const { units } = data.records[index], say = words();
    return say.unit_option.replace("{unit}", units.unit[row]).replace("{kind}", say[`class_${units.class[row]}`]);
  }
  function showUnit(index = chosen) {
    const box = $(`r${index}-unit`), row = unitOf[index], { units } = data.records[index], say = words();
    if (!box) return;
    const pick = box.querySelector("select");
    pick.replaceChildren(...units.unit.map((_, i) => new Option(unitName(index, i), i)));
    mark(index);
    box.hidden = row === null;
    if (row === null) return;
    pick.value = row;
    const alike = unitsLike(index, units.class[row]);
    box.querySelector(".walk output").textContent = say.unit_among.replace("{kind}", say[`class_${units.class[row]}`])
      .replace("{place}", alike.indexOf(row) + 1).replace("{count}", alike.length);
    for (const button of box.querySelectorAll("[data-walk]")) button.disabled = alike.length < 2;
    for (const place of box.querySelectorAll("[data-figure]")) {
      const name = place.dataset.figure;
      const value = name === "class" ? null : units[name][row];
      place.textContent = name === "class" ? say[`class_${units.class[row]}`]
        : name === "gradient" || name === "linearity" ? number(value) : value === null ? "–" : whole(value);
    }
    const drawing = articles[index].querySelector(`[data-panel=usage_${units.place}] svg`).cloneNode(true);
    const band = drawing.querySelector("[data-name=density]"), x = across(drawing);
    const shares = units.density[row], most = Math.max(...shares), wide = (x.at(x.high) - x.at(x.low)) / shares.length;
    band.setAttribute("d", shares.map((share, i) => (share && most ?
      `M${(x.at(x.low) + i * wide).toFixed(1)},${x.bottom}h${wide.toFixed(1)}v${(-.92 * share / most * (x.bottom - x.top)).toFixed(1)}h${(-wide).toFixed(1)}z` : "")).join(""));
    band.setAttribute("opacity", ".35");
    box.querySelector(".drawing").replaceChildren(drawing);
  }
  const drawings = (index, panel) => [...articles[index].querySelectorAll(`[data-panel=${panel}] .drawing svg`)];
  const unitsLike = (index, kind) => data.records[index].units.class.flatMap((one, row) => (one === kind ? [row] : []));

  // A drawing in rows: where they lie, which was clicked, a frame about some of them.
  function rowsIn(svg) {
    const { top, bottom } = across(svg), [, , low, high] = svg.dataset.up.split(" ").map(Number);
    return { top, high: (bottom - top) / (high - low), whole: svg.viewBox.baseVal };
  }
  function rowAt(event, svg) {
    const box = svg.getBoundingClientRect(), { top, high, whole } = rowsIn(svg);
    return Math.floor((whole.y + (event.clientY - box.top) / box.height * whole.height - top) / high);
  }
  function frame(svg, name, rows, margin) {
    let line = svg.querySelector(`.${name}`);
    if (!rows.length) { line?.remove(); return; }
    if (!line) {
      line = document.createElementNS(SVG, "rect");
      for (const [key, v] of [["class", name], ["fill", "none"], ["stroke", "var(--warn)"], ["stroke-width", 1.5]]) line.setAttribute(key, v);
      svg.append(line);
    }
    const x = across(svg), { top, high } = rowsIn(svg);
    for (const [key, v] of [["x", x.at(x.low) - margin], ["width", x.at(x.high) - x.at(x.low) + 2 * margin],
                            ["y", top + rows[0] * high - 1], ["height", rows.length * high + 2]]) line.setAttribute(key, v.toFixed(1));
  }
  // Rows to click, or to go through by arrow keys and choose by Enter.
  function pickable(index, panel, count, hover, pick) {
    let near = null;
    for (const svg of drawings(index, panel))
      svg.addEventListener("click", (event) => {
        const row = rowAt(event, svg);
        if (row >= 0 && row < count) pick(near = row);
      });
    articles[index].querySelector(`[data-panel=${panel}] .drawing`).addEventListener("keydown", (event) => {
      const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (move !== undefined) hover(near = near === null ? 0 : Math.min(count - 1, Math.max(0, near + move)));
      else if (event.key === "Enter") pick(near ??= 0);
      else return;
      event.preventDefault();
    });
  }

  function mark(index, row = unitOf[index]) {
    const alike = row === null ? [] : unitsLike(index, data.records[index].units.class[row]);
    $(`r${index}-barcode-row`).textContent = "";
    for (const svg of drawings(index, "barcode")) {
      frame(svg, "alike", alike, 4);
      frame(svg, "row", row === null ? [] : [row], 2);
    }
  }
  function pickUnit(row, index = chosen) {
    unitOf[index] = row;
    showUnit(index);
    remember();
    $(`r${index}-unit`).scrollIntoView({ block: "nearest" });
  }

  function choose(index, keep) {
    chosen = index;
    layer.value = index;
    articles.forEach((article, i) => article.classList.toggle("chosen", i === index));
    const { steps, series } = record(), ran = series.state.findLastIndex((v) => v !== null);
    step.max = steps - 1;
    if (!keep) step.value = ran < 0 ? step.max : ran;
    showStep();
  }

  // Where one is stands in the address, so that it can be kept and sent on.
  function remember() {
    const at = new URLSearchParams({ layer: record().key, step: step.value });
    if (look) at.set("look", look.value);
    if (unitOf[chosen] !== null) at.set("unit", record().units.unit[unitOf[chosen]]);
    history.replaceState(null, "", `#${at}`);
  }
  function recall() {
    const at = new URLSearchParams(location.hash.slice(1));
    const index = data.records.findIndex((one) => one.key === at.get("layer"));
    if (index < 0) return false;
    if (look && at.has("look")) look.value = at.get("look");
    step.max = data.records[index].steps - 1;
    step.value = at.get("step");
    const row = data.records[index].units.unit.indexOf(Number(at.get("unit")));
    unitOf[index] = at.has("unit") && row >= 0 ? row : null;
    choose(index, true);
    showUnit(index);
    return true;
  }

  function point(event) {
    const svg = event.currentTarget, box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    const t = Math.round(across(svg).back(x));
    if (t < 0 || t >= record().steps || String(t) === step.value) return;
    step.value = t;
    showStep();
  }

  const shownOf = (figure) => [...figure.querySelectorAll("svg")].find((svg) => svg.getClientRects().length);

  function download(name, type, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // A picture that stands alone: one language, colours as they are on screen.
  function picture(svg) {
    const copy = svg.cloneNode(true), parts = copy.querySelectorAll("*");
    svg.querySelectorAll("*").forEach((part, i) => {
      for (const paint of ["fill", "stroke"])
        if (part.hasAttribute(paint)) parts[i].setAttribute(paint, getComputedStyle(part)[paint]);
      if (part.matches(".cursor")) parts[i].setAttribute("stroke", getComputedStyle(part).stroke);
    });
    for (const other of copy.querySelectorAll(spoken() === "en" ? ".zh" : ".en")) other.remove();
    const paper = document.createElementNS(SVG, "rect");
    for (const [key, value] of [["y", svg.viewBox.baseVal.y], ["width", "100%"], ["height", "100%"],
                                ["fill", getComputedStyle(document.body).backgroundColor]])
      paper.setAttribute(key, value);
    copy.prepend(paper);
    return new XMLSerializer().serializeToString(copy);
  }

  function csv({ key, series, steps }) {
    const names = Object.keys(series);
    const quoted = `"${key.replaceAll('"', '""')}"`;
    const rows = [["layer", "step", ...names].join(",")];
    for (let t = 0; t < steps; t++) rows.push([quoted, t, ...names.map((name) => series[name][t] ?? "")].join(","));
    return rows.join("\r\n") + "\r\n";
  }

  function speak() {
    root.lang = tags[spoken()];
    document.title = document.querySelector("title").dataset[spoken()];
    look ? showLook() : showStep();
    articles.forEach((_, index) => showUnit(index));
  }

  root.classList.add("scripted");
  document.querySelector(".controls").hidden = false;
  for (const part of document.querySelectorAll(".by-script")) part.hidden = false;
  if (!root.dataset.language) {
    const wanted = (navigator.languages || [navigator.language]).map((tag) => tag.slice(0, 2).toLowerCase());
    document.getElementById(`lang-${wanted.find((tag) => tag in tags) || "en"}`).checked = true;
  }
  for (const choice of document.querySelectorAll("[name=language]")) choice.addEventListener("change", speak);
  layer.addEventListener("change", () => choose(Number(layer.value)));
  step.addEventListener("input", showStep);
  look?.addEventListener("input", showLook);
  for (const link of document.querySelectorAll("[data-show]"))
    link.addEventListener("click", (event) => {
      event.preventDefault();
      choose(Number(link.dataset.show));
      const panel = $(link.getAttribute("href").slice(1));
      panel?.scrollIntoView();
      panel?.focus({ preventScroll: true });
    });
  for (const svg of document.querySelectorAll("svg[data-time]")) {
    svg.addEventListener("pointermove", point);
    svg.addEventListener("pointerdown", point);
  }
  for (const box of document.querySelectorAll(".drawing.timed"))
    box.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      step.value = Math.min(Number(step.max), Math.max(0, Number(step.value) + move));
      showStep();
    });
  articles.forEach((article, index) => {
    const { units } = data.records[index], box = $(`r${index}-unit`);
    if (!box) return;
    const pick = box.querySelector("select");
    pickable(index, "barcode", units.unit.length, (row) => {
      mark(index, row);
      $(`r${index}-barcode-row`).textContent = unitName(index, row);
    }, (row) => pickUnit(row, index));
    pick.addEventListener("change", () => pickUnit(Number(pick.value), index));
    for (const button of box.querySelectorAll("[data-walk]"))
      button.addEventListener("click", () => {
        const alike = unitsLike(index, units.class[unitOf[index]]);
        const next = alike.indexOf(unitOf[index]) + Number(button.dataset.walk) + alike.length;
        pickUnit(alike[next % alike.length], index);
      });

    const [bars] = drawings(index, "census");
    const kinds = [...bars.querySelectorAll("path[data-name^=class_]")].map((bar) => bar.dataset.name.slice(6));
    const point = (row) => {
      const name = words()[`class_${kinds[row]}`], [first] = unitsLike(index, kinds[row]);
      frame(bars, "row", [row], 3);
      $(`r${index}-census-row`).textContent = first === undefined ? words().class_none.replace("{kind}", name) : name;
      return first;
    };
    pickable(index, "census", kinds.length, point, (row) => {
      const first = point(row);
      if (first === undefined) return;
      $(`r${index}-barcode`).scrollIntoView();
      pickUnit(first, index);
      pick.focus({ preventScroll: true });
    });
  });
  for (const button of document.querySelectorAll(".save")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      if (button.dataset.csv) download("steps.csv", "text/csv;charset=utf-8", csv(data.records[button.dataset.csv]));
      else download(`${button.dataset.save}.svg`, "image/svg+xml", picture(shownOf(button.closest("figure"))));
    });
  }
  addEventListener("hashchange", recall);
  if (!recall()) choose(0);
  speak();
  root.dataset.ready = "yes";
})();
