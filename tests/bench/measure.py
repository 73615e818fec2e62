"""How it is measured: rounds in which every contender has its turn, and the median of each figure."""

import http.client
import json
import os
import random
import re
import statistics
import subprocess
import time

UNITS = {'us': 1, 'ms': 1000, 's': 1e6}


def load(place, running, seconds=1.0, connections=8, keep=False, path='/', method='GET', upload=0, requests=0):
    """One turn by FastCGI: {'rps', 'p50_us', 'cpu_us', ...}. A request that fails ends the benchmark."""
    argv = [place.programs / 'load', '-c', connections, '-u', path, '-m', method, '-b', upload,
            '-f', place.folder / 'hello.php']
    argv += ['-n', requests] if requests else ['-d', seconds]
    argv += ['-k'] if keep else []
    before = running.cpu()
    done = subprocess.run([str(a) for a in (*argv, running.address)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{running.name}: {done.stderr}{done.stdout}' + running.log.read_text(errors='replace')[-2000:])
    figures = json.loads(done.stdout)
    figures['rps'] = figures['requests'] / figures['seconds']
    figures['cpu_us'] = (running.cpu() - before) / figures['requests'] * 1e6
    return figures


def visits(running, url, count=5):
    """A few requests by HTTP, for the smoke test: wrk's turns last a second at least."""
    host, path, started = url.split('/')[2], '/' + url.split('/', 3)[3], time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=20)
    for _ in range(count):
        connection.request('GET', path)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or not text:
            raise RuntimeError(f'{running.name}: {answer.status} {text!r}' + running.log.read_text(errors='replace')[-2000:])
    connection.close()
    elapsed = time.perf_counter() - started
    return {'requests': count, 'rps': count / elapsed, 'p50_us': elapsed / count * 1e6}


def wrk(running, url, seconds=1.0, connections=8):
    """One turn by HTTP. The backend's processes count, nginx does not."""
    if seconds < 0.1:
        return visits(running, url)
    before = running.cpu()
    text = subprocess.run(['wrk', '-t', '1', '-c', str(connections), '-d', f'{max(1, round(seconds))}s', '--latency',
                           '--timeout', '20s', url], stdout=subprocess.PIPE, check=True, text=True).stdout
    if 'Non-2xx' in text or 'Socket errors' in text or ' 0 requests in' in text:
        raise RuntimeError(f'{running.name}: {text}' + running.log.read_text(errors='replace')[-2000:])
    requests = int(re.search(r'(\d+) requests in', text)[1])
    figures = {'requests': requests, 'rps': float(re.search(r'Requests/sec:\s+([\d.]+)', text)[1]),
               'cpu_us': (running.cpu() - before) / requests * 1e6}
    for name, share in ('p50_us', 50), ('p99_us', 99):
        value, unit = re.search(rf' {share}%\s+([\d.]+)(us|ms|s)', text).groups()
        figures[name] = float(value) * UNITS[unit]
    return figures


def loop(argv):
    """A program that does the work in a loop and prints how often a second, and the CPU time of one in microseconds."""
    text = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, check=True, text=True).stdout
    rps, cpu_us = map(float, text.split())
    return {'rps': rps, 'cpu_us': cpu_us}


def process(argv, env, expected, cwd):
    """One process from its start to its end: {'ms', 'cpu_ms'}."""
    start = time.perf_counter()
    read, write = os.pipe()
    pid = os.posix_spawn(argv[0], argv, env, file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, '/dev/null', os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, write, 1),
        (os.POSIX_SPAWN_CLOSE, read), (os.POSIX_SPAWN_CLOSE, write)])
    os.close(write)
    output = b''
    while piece := os.read(read, 65536):
        output += piece
    os.close(read)
    _, status, usage = os.wait4(pid, 0)
    elapsed = time.perf_counter() - start
    if status != 0 or expected not in output:
        raise RuntimeError(f'{argv}: status {status}, {output[:500]!r}')
    return {'ms': elapsed * 1000, 'cpu_ms': (usage.ru_utime + usage.ru_stime) * 1000}


def rounds(turns, count, warm_up=True):
    """turns: {name: function}. Every function once a round, `count` rounds; {name: {figure: median}}.

    The order changes from round to round: what a turn leaves in the caches is good or bad for the next one."""
    if warm_up:
        for turn in turns.values():
            turn()
    seen, order, dice = {name: [] for name in turns}, list(turns), random.Random(1)
    for _ in range(count):
        for name in order:
            seen[name].append(turns[name]())
        dice.shuffle(order)
    return {name: {figure: statistics.median(f[figure] for f in all_of) for figure in all_of[0]
                   if not isinstance(all_of[0][figure], str)} for name, all_of in seen.items()}
