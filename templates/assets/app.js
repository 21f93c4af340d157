"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = data.samples, row = new Map(table.position.map((p, i) => [p, i]));
  const hover = document.getElementById("hover"), card = document.getElementById("card");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const make = (tag, className, text) => {
    const e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    return e;
  };

  // Samples
  const sample = (p) => {
    const i = row.get(p);
    if (i === undefined) return null;
    return {position: p, name: table.name[i], label: table.label[i], predicted: table.predicted[i], confidence: table.confidence[i],
            correct: table.correct[i], tile: table.tile[i]};
  };
  const tile = (s, scale) => {
    if (!s.tile || !data.sprite) return null;
    const e = make("span", "tile");
    e.style.setProperty("--x", s.tile[0]); e.style.setProperty("--y", s.tile[1]); e.style.setProperty("--s", scale);
    return e;
  };
  const percent = (x) => x === null ? "" : (100 * x).toFixed(1) + " %";
  const pairs = (rows) => {
    const list = make("dl", "pairs");
    for (const [key, value] of rows) if (value !== "" && value !== null) {
      const line = make("div");
      line.append(make("dt", "", key), make("dd", "", value));
      list.append(line);
    }
    return list;
  };
  const words = (s) => [["Label", s.label], ["Predicted", s.predicted], ["Confidence", percent(s.confidence)],
                        ["Verdict", s.correct === null ? "" : s.correct ? "right" : "wrong"]];
  function openCard(p) {
    const s = sample(p), body = card.querySelector(".cardbody");
    if (!s) return;
    const head = make("div", "cardhead"), text = make("div"), title = make("h2", "", s.name);
    title.id = "card-name";
    text.append(title, pairs([...words(s), ["Position", String(p)]]));
    const thumb = tile(s, 3);
    head.append(...(thumb ? [thumb] : []), text);
    body.replaceChildren(head);
    for (const source of document.querySelectorAll(`[data-sample="${p}"]`)) {
      const shots = make("div", "shots");
      for (const img of source.querySelectorAll("img")) {
        const figure = make("figure"), copy = img.cloneNode();
        figure.append(copy);
        const told = img.parentElement.querySelector("figcaption");
        figure.append(make("figcaption", "quiet", told ? told.innerText : img.alt.split(", ").slice(1).join(", ")));
        shots.append(figure);
      }
      if (shots.childElementCount) body.append(make("h3", "", source.dataset.figure), shots);
    }
    if (!card.open) card.showModal();
    card.scrollTop = 0;
  }
  let before = "";
  function follow() {
    const found = /^#sample=(\d+)$/.exec(location.hash);
    if (found) return openCard(Number(found[1]));
    before = location.hash;
    if (card.open) card.close();
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.closest("main") && target.tagName === "SECTION") target.scrollIntoView();
  }
  addEventListener("hashchange", follow);
  card.addEventListener("close", () => { if (location.hash.startsWith("#sample=")) history.replaceState(null, "", before || location.pathname + location.search); });
  card.addEventListener("click", (e) => { if (e.target === card) card.close(); });

  // Hover
  function show(event, nodes) {
    hover.replaceChildren(...nodes.filter(Boolean));
    hover.hidden = false;
    const wide = hover.offsetWidth, high = hover.offsetHeight;
    hover.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - wide - 8)) + "px";
    hover.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - high - 8)) + "px";
  }
  const hide = () => { hover.hidden = true; };

  // Charts
  const types = {f4: Float32Array, f8: Float64Array, i4: Int32Array, i1: Int8Array};
  const unpack = (a) => new types[a.dtype](Uint8Array.from(atob(a.bdata), (c) => c.charCodeAt(0)).buffer);
  const mounted = new Map();
  const css = () => getComputedStyle(document.body);
  function resolve(value, style, key = "") {
    if (typeof value === "string") {
      const found = /color/i.test(key) && /^var\((--[a-z0-9-]+)\)$/.exec(value);
      return found ? style.getPropertyValue(found[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((v) => resolve(v, style, key));
    if (value && typeof value === "object") {
      if ("bdata" in value) return {...value};
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, resolve(v, style, /color/i.test(key) ? key : k)]));
    }
    return value;
  }
  function layout(spec, style) {
    const colour = (n) => style.getPropertyValue(n).trim();
    const axis = (given) => ({gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--quiet"), tickfont: {size: 11}, ...given});
    const own = resolve(spec.layout || {}, style);
    return {paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {family: style.fontFamily || "sans-serif", size: 12, color: colour("--muted")},
      margin: {l: 48, r: 12, t: 10, b: 40}, hoverlabel: {bgcolor: colour("--bg"), bordercolor: colour("--line"), font: {color: colour("--ink")}, align: "left"},
      legend: {orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: {color: colour("--ink")}}, ...own, height: spec.height,
      xaxis: axis(own.xaxis), yaxis: axis(own.yaxis), autosize: true};
  }
  const escape = (s) => s.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  function points(spec, state, style) {
    const colour = (n) => style.getPropertyValue(n).trim();
    spec.open ??= {p: unpack(spec.positions), label: unpack(spec.labels), correct: unpack(spec.correct), confidence: unpack(spec.confidence),
                   views: spec.views.map((v) => [unpack(v.x), unpack(v.y)])};
    const {p, label, correct, confidence, views} = spec.open, [x, y] = views[state.view], size = p.length > 2000 ? 4 : p.length > 400 ? 6 : 8;
    const all = [...p.keys()], base = {type: "scatter", mode: "markers", hoverinfo: "none"};
    const part = (rows, name, marker) => ({...base, name: escape(name), x: rows.map((i) => x[i]), y: rows.map((i) => y[i]), customdata: rows.map((i) => p[i]),
      marker: {size, opacity: .82, line: {width: 0}, ...marker}});
    const kinds = Object.keys(spec.classes).map(Number).sort((a, b) => a - b);
    if (state.colour === "correct")
      return [[1, "right", "--quiet"], [0, "wrong", "--fail"], [-1, "unlabelled", "--muted"]].map(([k, n, c]) => part(all.filter((i) => correct[i] === k), n, {color: colour(c)})).filter((t) => t.x.length);
    if (state.colour === "confidence")
      return [part(all, "confidence", {color: all.map((i) => confidence[i]), cmin: 0, cmax: 1, colorbar: {thickness: 8, outlinewidth: 0}, colorscale: [[0, colour("--hot")], [.5, colour("--quiet")], [1, colour("--accent")]]})];
    if (kinds.length > 12)
      return [part(all, "class", {color: all.map((i) => `hsl(${Math.round(360 * kinds.indexOf(label[i]) / kinds.length)} 45% ${dark.matches ? 66 : 46}%)`)})];
    return kinds.map((k, i) => part(all.filter((j) => label[j] === k), spec.classes[k], {color: colour((spec.colours || {})[k] || `--series-${i % 8}`), symbol: i < 8 ? "circle" : "diamond"}));
  }
  let unpacked;
  const library = () => unpacked ||= (async () => {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const source = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
    document.head.append(make("script", "", source));
  })();
  async function draw(div) {
    if (!window.Plotly) await library();
    const spec = data.charts[div.id], style = css(), state = mounted.get(div);
    let traces = spec.scatter ? points(spec, state, style) : resolve(spec.data, style), shape = layout(spec, style);
    if (spec.scatter) {
      const bare = {visible: false, automargin: false};
      shape = {...shape, xaxis: bare, yaxis: {...bare, scaleanchor: "x"}, showlegend: traces.length > 1, dragmode: "pan", margin: {l: 4, r: 4, t: 8, b: 4}};
    }
    if (innerWidth < 640) { shape.legend.font.size = 10; }
    return Plotly.react(div, traces, shape, {displaylogo: false, responsive: true, displayModeBar: spec.scatter ? "hover" : false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "toImage"], scrollZoom: false});
  }
  async function mount(div) {
    if (mounted.has(div)) return;
    mounted.set(div, {view: 0, colour: "label"});
    const spec = data.charts[div.id];
    await draw(div);
    if (spec.scatter) {
      div.on("plotly_hover", (e) => {
        const s = sample(e.points[0].customdata);
        if (s) show(e.event, [tile(s, 2), make("strong", "", s.name), pairs(words(s))]);
      });
      div.on("plotly_click", (e) => { location.hash = "sample=" + e.points[0].customdata; hide(); });
    } else if (spec.rows) {
      div.on("plotly_hover", (e) => {
        const q = e.points[0], z = q.z;
        show(e.event, [pairs([[spec.layout.yaxis.title.text || "row", spec.rows[q.y]], [spec.layout.xaxis.title.text || "column", spec.columns[q.x]],
                              ["value", z === null || Number.isNaN(z) ? "–" : String(Number(z.toPrecision(4)))]])]);
      });
    }
    div.on("plotly_unhover", hide);
    div.dataset.mounted = "";
  }
  const charts = [...document.querySelectorAll(".chart")];
  const watch = new IntersectionObserver((entries) => { for (const e of entries) if (e.isIntersecting) { watch.unobserve(e.target); mount(e.target); } }, {rootMargin: "400px"});
  charts.forEach((div) => watch.observe(div));
  if (charts.length) addEventListener("load", () => setTimeout(library, 500));  // so that a page that is printed unseen has it
  const redraw = () => { for (const div of mounted.keys()) draw(div); };
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => charts.forEach(mount));
  addEventListener("scroll", hide, {passive: true});
  for (const button of document.querySelectorAll(".choice button")) button.addEventListener("click", async () => {
    const div = document.getElementById(button.dataset.for);
    await mount(div);
    const state = mounted.get(div);
    if (button.dataset.view) state.view = Number(button.dataset.view); else state.colour = button.dataset.colour;
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    draw(div);
  });

  // Sheets of tiles: one page at a time, and the tile's name under the pointer
  for (const pages of document.querySelectorAll(".pages")) {
    const buttons = [...pages.querySelectorAll(".thumbs button")], shown = [...pages.querySelectorAll(".page")];
    const turn = (at) => {
      shown.forEach((page, i) => { page.hidden = i !== at; });
      buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(i === at)));
    };
    buttons.forEach((button, i) => button.addEventListener("click", () => turn(i)));
    turn(0);
  }
  for (const img of document.querySelectorAll("img[data-tile]")) {
    const [high, wide] = img.dataset.tile.split(" ").map(Number), columns = Number(img.dataset.columns);
    const labels = img.closest(".drawn").querySelectorAll(".labels li");
    img.addEventListener("mousemove", (e) => {
      const box = img.getBoundingClientRect(), scale = img.naturalWidth / box.width;
      const label = labels[Math.floor((e.clientY - box.top) * scale / high) * columns + Math.floor((e.clientX - box.left) * scale / wide)];
      if (label) show(e, [make("span", "", label.textContent)]); else hide();
    });
    img.addEventListener("mouseleave", hide);
  }

  // Pictures of many images
  for (const [id, spec] of Object.entries(data.places || {})) {
    const img = document.getElementById(id), boxes = unpack(spec.boxes);
    img.addEventListener("pointermove", (e) => {
      const box = img.getBoundingClientRect(), scale = img.naturalWidth / box.width;
      const x = (e.clientX - box.left) * scale, y = (e.clientY - box.top) * scale;
      for (let i = boxes.length - 3; i >= 0; i -= 3) {
        const left = boxes[i + 1], top = boxes[i + 2];
        if (x < left || y < top || x >= left + spec.tile || y >= top + spec.tile) continue;
        const s = sample(boxes[i]);
        if (s) return show(e, [tile(s, 2), make("strong", "", s.name), pairs(words(s))]);
      }
      hide();
    });
    img.addEventListener("pointerleave", hide);
  }

  // Navigation
  const links = [...document.querySelectorAll(".side a")];
  const spy = new IntersectionObserver((entries) => {
    for (const e of entries) if (e.isIntersecting) for (const a of links) {
      if (a.hash === "#" + e.target.id && !a.classList.contains("brand")) a.setAttribute("aria-current", "true"); else a.removeAttribute("aria-current");
    }
  }, {rootMargin: "-10% 0px -80% 0px"});
  document.querySelectorAll("main > section").forEach((s) => spy.observe(s));
  document.querySelector(".side").addEventListener("keydown", (e) => {
    const step = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[e.key], at = links.indexOf(document.activeElement);
    const next = e.key === "Home" ? 0 : e.key === "End" ? links.length - 1 : step && at >= 0 ? (at + step + links.length) % links.length : -1;
    if (next < 0) return;
    e.preventDefault();
    links[next].focus();
  });
  if (location.hash) follow();
})();
