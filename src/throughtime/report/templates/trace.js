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

  // The scales a drawing was made with, so that more can be drawn on it.
  function across(svg, name = "time") {
    const [start, stop, low, high, top, bottom] = svg.dataset[name].split(" ").map(Number);
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

  function cursor(svg, name, value) {
    const scale = across(svg, name);
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

  // At the last look the page shows every step of it as it was drawn; earlier ones are redrawn.
  function showLook() {
    const index = Number(look.value);
    $("look-value").textContent = words().look_value.replace("{step}", data.looks[index]);
    look.setAttribute("aria-valuetext", $("look-value").textContent);
    const last = index === data.looks.length - 1;
    articles.forEach((article) => {
      const frame = data.records[article.dataset.record].frames[index];
      if (!frame) return;
      for (const path of article.querySelectorAll(".timed [data-name]")) {
        const name = path.dataset.name, svg = path.ownerSVGElement;
        path.dataset.own ??= path.getAttribute("d");
        if (last) path.setAttribute("d", path.dataset.own);
        else if (name === "spread") path.setAttribute("d", "");
        else path.setAttribute("d", (name === "share" ? barPath : linePath)(frame.time, frame[name], svg));
      }
    });
    $("look-note").hidden = last;
    for (const svg of document.querySelectorAll("svg[data-training]")) cursor(svg, "training", data.looks[index]);
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
    return Object.fromEntries(Object.keys(frame).map((name) => [name, frame[name][near] ?? null]));
  }

  function showStep() {
    const t = Number(step.value), { steps } = record(), at = valuesAt(t), say = words();
    $("step-value").textContent = `${t} / ${steps - 1}`;
    for (const svg of articles[chosen].querySelectorAll("svg[data-time]")) cursor(svg, "time", t);
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
    const whole = share.reduce((sum, v, i) => sum + ((reverse ? time[i] <= t : time[i] >= t) ? v ?? 0 : 0), 0);
    const sign = reverse ? "≤" : "≥";
    lines.push([say.sum_share, `s = ${percent(at.share)}   Σ(t′ ${sign} ${t}) = ${percent(at.share === null ? null : whole)}`]);
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

  function choose(index, keep) {
    chosen = index;
    layer.value = index;
    articles.forEach((article, i) => article.classList.toggle("chosen", i === index));
    step.max = record().steps - 1;
    if (!keep) step.value = step.max;
    showStep();
  }

  // Where one is stands in the address, so that it can be kept and sent on.
  function remember() {
    const at = new URLSearchParams({ layer: record().key, step: step.value });
    if (look) at.set("look", look.value);
    history.replaceState(null, "", `#${at}`);
  }
  function recall() {
    const at = new URLSearchParams(location.hash.slice(1));
    const index = data.records.findIndex((one) => one.key === at.get("layer"));
    if (index < 0) return false;
    if (look && at.has("look")) look.value = at.get("look");
    step.max = data.records[index].steps - 1;
    step.value = at.get("step");
    choose(index, true);
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
    for (const [key, value] of [["width", "100%"], ["height", "100%"], ["fill", getComputedStyle(document.body).backgroundColor]])
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
  }

  root.classList.add("scripted");
  document.querySelector(".controls").hidden = false;
  for (const part of document.querySelectorAll(".arithmetic")) part.hidden = false;
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
  const boxes = [...document.querySelectorAll(".drawing.timed")];
  for (const box of boxes) {
    box.addEventListener("scroll", () => {
      for (const other of boxes) if (other.scrollLeft !== box.scrollLeft) other.scrollLeft = box.scrollLeft;
    }, { passive: true });
    box.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      step.value = Math.min(Number(step.max), Math.max(0, Number(step.value) + move));
      showStep();
    });
  }
  for (const button of document.querySelectorAll(".save")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      if (button.dataset.csv) download("steps.csv", "text/csv;charset=utf-8", csv(data.records[button.dataset.csv]));
      else download(`${button.dataset.save}.svg`, "image/svg+xml", picture(button.closest("figure").querySelector("svg")));
    });
  }
  addEventListener("hashchange", recall);
  if (!recall()) choose(0);
  speak();
  root.dataset.ready = "yes";
})();
