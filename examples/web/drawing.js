// Draws a state of the arena: a square of 40 by 40, bodies of radius 1, orbs of radius 0.5.
const SIZE = 40;
const COLOURS = ["#2f7d4f", "#b3541e", "#3b6fb6", "#8a4fa3", "#a68a1c", "#2b8a8a", "#b03a5b", "#6b6b6b"];

/** @param part how far from the state before to the newest one, from 0 to 1. */
export function draw(canvas, before, now, part, me, names) {
  const pen = canvas.getContext("2d");
  const scale = canvas.width / SIZE;
  const ink = getComputedStyle(canvas).color;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, SIZE, SIZE);
  for (const [x, y] of now.orbs) disc(pen, x, y, 0.5, "#e0b93a");
  pen.font = "1px system-ui, sans-serif";
  pen.textAlign = "center";
  Object.entries(now.bodies).forEach(([player, [x, y, points]], number) => {
    const [fromX, fromY] = before.bodies[player] ?? [x, y];
    const atX = fromX + (x - fromX) * part;
    const atY = fromY + (y - fromY) * part;
    disc(pen, atX, atY, 1, COLOURS[number % COLOURS.length]);
    if (player === me) {
      pen.strokeStyle = ink;
      pen.lineWidth = 0.15;
      pen.stroke();
    }
    pen.fillStyle = "#fff";
    pen.fillText(String(points), atX, atY + 0.35);
    pen.fillStyle = ink;
    pen.fillText(player === me ? "you" : (names[player] ?? ""), atX, atY + (atY < 3 ? 2.1 : -1.3));
  });
}

function disc(pen, x, y, radius, colour) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = colour;
  pen.fill();
}
