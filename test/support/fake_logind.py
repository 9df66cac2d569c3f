#!/usr/bin/python3
"""A logind for tests: inhibitor locks, PrepareForShutdown, and the reload that takes a new InhibitDelayMaxSec.

Commands on standard input: "prepare true", "prepare false". Says "ready", "locks <n>" and "delay <s>" on standard output.
Python, because JavaScript cannot pass a file descriptor over a socket.
"""
import glob
import os
import sys

import dbus
import dbus.mainloop.glib
import dbus.service
from gi.repository import GLib

MANAGER = "org.freedesktop.login1.Manager"
config_folder, first_delay = sys.argv[1], int(sys.argv[2])


def say(text):
    print(text, flush=True)


class Login(dbus.service.Object):
    def __init__(self, bus):
        super().__init__(bus, "/org/freedesktop/login1")
        self.delay = first_delay
        self.preparing = False
        self.locks = set()

    @dbus.service.method(MANAGER, in_signature="ssss", out_signature="h")
    def Inhibit(self, what, who, why, mode):
        if self.preparing:
            raise dbus.exceptions.DBusException("in progress", name="org.freedesktop.login1.OperationInProgress")
        assert (what, who, mode) == ("shutdown", "pinpod", "delay"), (what, who, why, mode)
        read, write = os.pipe()
        self.locks.add(read)
        GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, read, GLib.IOCondition.HUP, self.released, None)
        say(f"locks {len(self.locks)}")
        lock = dbus.types.UnixFd(write)
        os.close(write)
        return lock

    def released(self, fd, _condition, _data):
        self.locks.discard(fd)
        os.close(fd)
        say(f"locks {len(self.locks)}")
        return False

    @dbus.service.signal(MANAGER, signature="b")
    def PrepareForShutdown(self, start):
        pass

    @dbus.service.method("org.freedesktop.DBus.Properties", in_signature="ss", out_signature="v")
    def Get(self, _interface, name):
        if name == "InhibitDelayMaxUSec":
            return dbus.UInt64(self.delay * 1000000, variant_level=1)
        assert name == "PreparingForShutdown", name
        return dbus.Boolean(self.preparing, variant_level=1)

    def reload(self):
        for path in sorted(glob.glob(config_folder + "/*.conf")):
            with open(path, encoding="utf8") as file:
                for line in file:
                    if line.startswith("InhibitDelayMaxSec="):
                        self.delay = int(line.split("=")[1])
        say(f"delay {self.delay}")


class Systemd(dbus.service.Object):
    def __init__(self, bus, login):
        super().__init__(bus, "/org/freedesktop/systemd1")
        self.login = login

    @dbus.service.method("org.freedesktop.systemd1.Manager", in_signature="ssi", out_signature="")
    def KillUnit(self, unit, whom, signal):
        assert (unit, whom, signal) == ("systemd-logind.service", "all", 1), (unit, whom, signal)
        self.login.reload()


def command(source, _condition, login):
    line = source.readline()
    if line == "":
        loop.quit()
        return False
    login.preparing = line.strip() == "prepare true"
    login.PrepareForShutdown(login.preparing)
    return True


dbus.mainloop.glib.DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
login = Login(bus)
names = [dbus.service.BusName("org.freedesktop.login1", bus), dbus.service.BusName("org.freedesktop.systemd1", bus)]
systemd = Systemd(bus, login)
loop = GLib.MainLoop()
GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, command, login)
say("ready")
loop.run()
